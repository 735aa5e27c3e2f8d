"""
The contender "plain Python": what anybody would write in ten lines with the zstandard module.

    python benchmarks/plain.py IMAGE.zst TARGET
"""

import os
import sys

import zstandard


def main(image: str, target: str) -> None:
    output = os.open(target, os.O_WRONLY)
    with open(image, "rb") as source:
        reader = zstandard.ZstdDecompressor().stream_reader(source, read_across_frames=True)
        while data := reader.read(1 << 20):
            view = memoryview(data)
            while view:
                view = view[os.write(output, view) :]
    os.fsync(output)
    os.close(output)


if __name__ == "__main__":
    main(*sys.argv[1:])
