"""`hupfast bundle push` and `hupfast bundle pull`."""

from __future__ import annotations

from pathlib import Path

import click

from hupfast.cli.output import human, json_option, print_json, progress, quiet_option, say
from hupfast.cli.transport import transport_of, transport_options


@click.command(short_help="Put a bundle into a registry.")
@click.argument("file")
@click.argument("address", metavar="oci://HOST/NAME:TAG")
@transport_options
@json_option
@quiet_option
def push(
    file: str, address: str, ca_file: str | None, auth_file: str | None, limit_rate: int, as_json: bool, quiet: bool
) -> None:
    """
    Put the bundle FILE into a registry, where ADDRESS says.

    Members that the registry has already are not sent again. `hupfast update` and `hupfast bundle pull` take the
    address; it prints one more, which names exactly this bundle. A registry on this machine is asked over http, all
    others over https, unless the address begins with oci+http://.
    """
    from hupfast.oci.push import push as push_bundle

    transport = transport_of(ca_file, auth_file, limit_rate, quiet=quiet)
    with progress(quiet) as show:
        pushed = push_bundle(file, address, transport=transport, progress=show)
    if as_json:
        print_json({"ok": True, "exit_code": 0, "file": file, **pushed.as_dict()})
    elif not quiet:
        there = f", {human(pushed.present)} there already" if pushed.present else ""
        say(f"pushed {pushed.name} {pushed.version}, {human(pushed.sent)} sent{there}: {pushed.reference}")


@click.command(short_help="Get a bundle from a registry.")
@click.argument("address", metavar="oci://HOST/NAME:TAG")
@click.argument("out")
@click.option("-f", "--force", is_flag=True, help="Replace OUT if it exists.")
@transport_options
@json_option
@quiet_option
def pull(
    address: str,
    out: str,
    force: bool,
    ca_file: str | None,
    auth_file: str | None,
    limit_rate: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """
    Get the bundle at ADDRESS from a registry into the file OUT, exactly as it was pushed.

    Instead of :TAG, @sha256:... names exactly one bundle.
    """
    from hupfast.oci.pull import pull as pull_bundle

    transport = transport_of(ca_file, auth_file, limit_rate, quiet=quiet)
    with progress(quiet) as show:
        pulled = pull_bundle(address, Path(out), force=force, transport=transport, progress=show)
    if as_json:
        print_json({"ok": True, "exit_code": 0, "address": address, "out": out, **pulled.as_dict()})
    elif not quiet:
        say(f"pulled {pulled.name} {pulled.version}, {human(pulled.size)}, manifest {pulled.manifest_sha256}")
