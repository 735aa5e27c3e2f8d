"""`hupfast bundle create`, `info`, `sign` and `verify`."""

from __future__ import annotations

from pathlib import Path

import click

from hupfast.cli.output import Size, human, json_option, print_json, progress, quiet_option, say
from hupfast.cli.registry import pull, push
from hupfast.cli.transport import transport_of, transport_options
from hupfast.image import CHUNK_SIZE, LEVEL


@click.group(short_help="Make, sign and inspect bundles.")
def bundle() -> None:
    """Make, sign and inspect bundles: a manifest, boot files, bootloaders and a chunked image in one .hup file."""


bundle.add_command(push)
bundle.add_command(pull)


@bundle.command(short_help="Make a bundle.")
@click.argument("out")
@click.option("--name", required=True, help="Name of the system.")
@click.option("--version", required=True, help="Its version.")
@click.option("--board", "boards", multiple=True, required=True, help="Board that it is for; may be repeated.")
@click.option("--image", required=True, metavar="FILE", help="Image of the root filesystem; packed if it is not.")
@click.option("--boot", metavar="DIR", help="Directory of the boot files.")
@click.option("--raw", multiple=True, metavar="NAME=FILE", help="Bootloader for the raw range NAME; may be repeated.")
@click.option("--created", default="", metavar="TEXT", help="A date or another word, for people only.")
@click.option("--expires", default="", metavar="TIME", help="UTC, as 2027-01-31T12:00:00Z: see boards' [trust].")
@click.option("--minimum-system", default="", metavar="VERSION", help="The oldest version to update from.")
@click.option("--minimum-hupfast", default="", metavar="VERSION", help="The oldest hupfast to update with.")
@click.option("--level", type=int, default=LEVEL, show_default=True, help="zstd level for packing, 1 to 22.")
@click.option("--chunk-size", type=Size(), default=CHUNK_SIZE, help="Raw bytes of a chunk, 64K to 64M.  [default: 1M]")
@click.option("-f", "--force", is_flag=True, help="Replace OUT if it exists.")
@json_option
@quiet_option
def create(
    out: str,
    name: str,
    version: str,
    boards: tuple[str, ...],
    image: str,
    boot: str | None,
    raw: tuple[str, ...],
    created: str,
    expires: str,
    minimum_system: str,
    minimum_hupfast: str,
    level: int,
    chunk_size: int,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """
    Make the bundle OUT of an image and a directory of boot files.

    The image may be raw, zstd, gzip, xz or bzip2. The same input gives the same OUT.
    """
    from hupfast.bundling import create_bundle, inspect_bundle
    from hupfast.image import pack
    from hupfast.run import Progress

    blobs = _by_name(raw)
    with progress(quiet) as show:

        def packed(source: Path, target: Path) -> None:
            def forward(done: int, total: int | None) -> None:
                if show is not None:
                    show(Progress("pack", done, total, 0))

            report = pack(source, target, level=level, chunk_size=chunk_size, progress=forward)
            if show is not None:
                show(Progress("done", report.image_size, report.image_size, 0))

        minimum = {"system": minimum_system, "hupfast": minimum_hupfast}
        create_bundle(
            Path(out),
            name=name,
            version=version,
            boards=boards,
            image=Path(image),
            boot=None if boot is None else Path(boot),
            raw=blobs,
            created=created,
            expires=expires,
            minimum_versions={key: value for key, value in minimum.items() if value},
            pack=packed,
            force=force,
        )
    info = inspect_bundle(out)
    if as_json:
        print_json({"ok": True, "exit_code": 0, "out": out, **info.as_dict()})
    elif not quiet:
        say(f"made {out}, {human(info.size or 0)}, manifest {info.digest}")


@bundle.command(short_help="Show what is in a bundle.")
@click.argument("file")
@transport_options
@json_option
def info(file: str, ca_file: str | None, auth_file: str | None, limit_rate: int, as_json: bool) -> None:
    """
    Show the manifest and the members of the bundle FILE.

    FILE is a file, an http(s):// or oci:// address, or - for standard input.

    It reads the front of the bundle; what is behind it is checked by `hupfast bundle verify`, and `hupfast update`.
    """
    from hupfast.bundling import inspect_bundle

    found = inspect_bundle(file, transport=transport_of(ca_file, auth_file, limit_rate))
    if as_json:
        print_json({"ok": True, "exit_code": 0, **found.as_dict()})
        return
    manifest = found.manifest
    say(f"name      {manifest.name}")
    say(f"version   {manifest.version}")
    say(f"boards    {', '.join(manifest.boards)}")
    if manifest.created:
        say(f"created   {manifest.created}")
    if manifest.expires:
        say(f"expires   {manifest.expires}")
    for what, least in manifest.minimum_versions.items():
        say(f"needs     {what} {least} or later")
    for signature in found.signatures:
        say(f"signed    {signature.algorithm} {signature.key_id} (not checked: hupfast bundle verify does)")
    if not found.signatures:
        say("signed    no")
    say(f"manifest  {found.digest}")
    for member in manifest.boot:
        say(f"boot      {member.path} ({human(member.size)})")
    for blob in manifest.raw:
        say(f"raw       {blob.path} ({human(blob.size)})")
    image = manifest.image
    say(
        f"image     {image.name} ({human(image.size)}, {human(image.image_size)} when written,"
        f" in chunks of {human(image.chunk_size)})"
    )


@bundle.command(short_help="Sign a bundle.")
@click.argument("file")
@click.option("--key", metavar="PEM", help="The private key; with --attach, the public one.")
@click.option("--passphrase-file", metavar="FILE", help="File whose first line is the passphrase of the key.")
@click.option("--export", metavar="OUT", help="Only write the bytes that are to be signed, to sign them elsewhere.")
@click.option("--attach", metavar="SIGNATURE", help="Put in a signature made elsewhere, a file of 64 bytes.")
@click.option("--out", metavar="FILE", help="Write the signed bundle there.  [default: replace the bundle]")
@click.option("-f", "--force", is_flag=True, help="Replace OUT if it exists.")
@json_option
@quiet_option
def sign(
    file: str,
    key: str | None,
    passphrase_file: str | None,
    export: str | None,
    attach: str | None,
    out: str | None,
    force: bool,
    as_json: bool,
    quiet: bool,
) -> None:
    """
    Sign the bundle FILE with the Ed25519 key that `hupfast keygen` or openssl made.

    Signatures of other keys stay, so that a bundle can be for boards that trust different ones. With a key that
    cannot be had as a file: --export, then for example `openssl pkeyutl -sign -rawin -inkey KEY -in OUT -out
    SIGNATURE`, then --attach with the public key.
    """
    from hupfast import signing

    target = None if out is None else Path(out)
    if export is not None:
        if key or attach or passphrase_file or out:
            raise click.UsageError("--export goes with no other file than that of the bundle")
        signing.export_manifest(Path(file), Path(export), force=force)
        result = {"out": export}
        words = f"wrote the manifest of {file} to {export}: sign exactly these bytes"
    elif key is None:
        raise click.UsageError("give the --key to sign with, or --export")
    else:
        if attach is None:
            passphrase = signing.read_passphrase(None if passphrase_file is None else Path(passphrase_file))
            key_id = signing.sign(Path(file), Path(key), passphrase, target, force=force)
        elif passphrase_file is None:
            key_id = signing.attach(Path(file), Path(attach), Path(key), target, force=force)
        else:
            raise click.UsageError("--attach needs the public key only, which has no passphrase")
        result = {"out": out or file, "key": key_id}
        words = f"{out or file} is signed by the key {key_id}"
    if as_json:
        print_json({"ok": True, "exit_code": 0, **result})
    elif not quiet:
        say(words)


@bundle.command(short_help="Check signatures and every member of a bundle.")
@click.argument("file")
@click.option("--key", "key_files", multiple=True, metavar="PEM", help="Public key to trust; may be repeated.")
@click.option("--keys", metavar="DIR", help="Directory of public keys to trust.  [default: /etc/hupfast/keys]")
@click.option("--allow-unsigned", is_flag=True, help="Check the members of a bundle that nobody trusted has signed.")
@transport_options
@json_option
@quiet_option
def verify(
    file: str,
    key_files: tuple[str, ...],
    keys: str | None,
    allow_unsigned: bool,
    ca_file: str | None,
    auth_file: str | None,
    limit_rate: int,
    as_json: bool,
    quiet: bool,
) -> None:
    """
    Check the bundle FILE (a file, an http(s):// or oci:// address, or - for standard input) to its last byte.

    \b
    Exit codes:
      0  it is whole, and signed by a trusted key
      4  no trusted key has signed it
      5  a signature, a digest or the format is wrong
    """
    from hupfast.bundle import open_bundle
    from hupfast.inspection import verify_bundle
    from hupfast.keys import DIRECTORY, load_keys, read_key

    if keys is not None and not Path(keys).is_dir():
        raise click.UsageError(f"--keys {keys}: there is no such directory")
    trusted = [read_key(Path(key)) for key in key_files]
    if keys is not None or not key_files:
        trusted += load_keys(Path(keys or DIRECTORY))
    transport = transport_of(ca_file, auth_file, limit_rate, quiet=quiet)
    with open_bundle(file, transport=transport) as opened, progress(quiet, names={"write": "check"}) as show:
        found = verify_bundle(opened, trusted, allow_unsigned=allow_unsigned, progress=show)
    if as_json:
        signer = None if found.key is None else {"id": found.key.id, "file": str(found.key.path)}
        print_json({"ok": True, "exit_code": 0, "manifest_sha256": found.digest, "key": signer})
    elif not quiet:
        by = f"signed by {found.key.id} ({found.key.path})" if found.key else "not signed by a trusted key"
        say(f"{found.manifest.name} {found.manifest.version}, manifest {found.digest}: whole, {by}")


def _by_name(raw: tuple[str, ...]) -> dict[str, Path]:
    """The files of --raw by their names."""
    found: dict[str, Path] = {}
    for option in raw:
        name, equals, file = option.partition("=")
        if not (name and equals and file):
            raise click.UsageError(f"--raw {option}: it must be NAME=FILE, such as MLO=build/MLO")
        if name in found:
            raise click.UsageError(f"--raw {option}: there is a {name} already")
        found[name] = Path(file)
    return found
