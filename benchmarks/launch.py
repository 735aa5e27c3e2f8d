"""
Start one command, or a pipeline of several, and say what each process of it used.

    python -I -S launch.py RESULT PROCS STDOUT STDERR -- PROGRAM ARGUMENT... [| PROGRAM ARGUMENT...]...

Linux keeps the peak memory of a process over fork and exec, so a child of a large Python process seems to
need as much as its parent. Hence this small program in between: what it cannot tell apart is its own few MiB,
which it gives as "floor". PROCS is the cgroup.procs file that each process enters, or empty.

RESULT: a first line "wall NANOSECONDS floor KIB", then for each process, in the order of the pipeline, a line
"exit STATUS user SECONDS system SECONDS maxrss KIB". STATUS is negative for a signal. The times include
descendants that the process waited for.
"""

import os
import signal
import sys
import time


def own_peak() -> int:
    """Peak resident memory of this process in KiB."""
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


def start(argv: list[str], procs: str, stdin: int, stdout: int, stderr: int) -> int:
    """Start one process with these descriptors, inside the group. Returns its pid."""
    pid = os.fork()
    if pid:
        return pid
    try:
        if procs:
            with open(procs, "w") as group:
                group.write(str(os.getpid()))
        os.dup2(stdin, 0)
        os.dup2(stdout, 1)
        os.dup2(stderr, 2)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and ignored signals are inherited
        os.execvp(argv[0], argv)
    except OSError as error:
        os.write(2, f"{argv[0]}: {error}\n".encode())
    finally:
        os._exit(127)


def pipeline(stages: list[list[str]], procs: str, stdout: int, stderr: int) -> list[int]:
    """Start the stages, each reading what the one before it writes. Returns their pids."""
    pids: list[int] = []
    stdin = os.open(os.devnull, os.O_RDONLY)
    for number, argv in enumerate(stages):
        last = number == len(stages) - 1
        readable, writable = (-1, stdout) if last else os.pipe()  # not inheritable over exec
        pids.append(start(argv, procs, stdin, writable, stderr))
        os.close(stdin)
        if not last:
            os.close(writable)
            stdin = readable
    return pids


def main() -> None:
    result, procs, out, err, dashes, *words = sys.argv[1:]
    assert dashes == "--"
    stages: list[list[str]] = [[]]
    for word in words:
        if word == "|":
            stages.append([])
        else:
            stages[-1].append(word)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    stdout, stderr = os.open(out, flags, 0o644), os.open(err, flags | os.O_APPEND, 0o644)
    floor = own_peak()
    begin = time.monotonic_ns()
    pids = pipeline(stages, procs, stdout, stderr)
    used: dict[int, str] = {}
    while len(used) < len(pids):
        pid, status, usage = os.wait4(-1, 0)
        times = f"user {usage.ru_utime} system {usage.ru_stime}"
        used[pid] = f"exit {os.waitstatus_to_exitcode(status)} {times} maxrss {usage.ru_maxrss}\n"
    wall = time.monotonic_ns() - begin
    with open(result, "w") as report:
        report.write(f"wall {wall} floor {floor}\n")
        report.writelines(used[pid] for pid in pids)


if __name__ == "__main__":
    main()
