"""`hupfast keygen`: a key to sign bundles with."""

from __future__ import annotations

from pathlib import Path

import click

from hupfast.cli.output import json_option, print_json, quiet_option, say


@click.command(short_help="Make a key to sign bundles with.")
@click.argument("name")
@click.option("--passphrase-file", metavar="FILE", help="Encrypt the private key with the first line of FILE.")
@json_option
@quiet_option
def keygen(name: str, passphrase_file: str | None, as_json: bool, quiet: bool) -> None:
    """
    Make the Ed25519 key pair NAME.key and NAME.pem.

    NAME.key is secret: `hupfast bundle sign --key` needs it. NAME.pem belongs in /etc/hupfast/keys of every board that
    is to trust it. Both are what openssl makes (genpkey -algorithm ed25519; pkey -pubout). Nothing is replaced.
    """
    from hupfast.signing import make_key, read_passphrase

    pair = make_key(name, read_passphrase(None if passphrase_file is None else Path(passphrase_file)))
    if as_json:
        print_json(
            {"ok": True, "exit_code": 0, "private": str(pair.private), "public": str(pair.public), "id": pair.id}
        )
    elif not quiet:
        say(f"made {pair.private}, which stays secret, and {pair.public}, for /etc/hupfast/keys of the boards")
        say(f"key id {pair.id}")
