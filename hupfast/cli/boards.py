"""`hupfast boards list`, `show` and `detect`: profiles."""

from __future__ import annotations

from pathlib import Path

import click

from hupfast.cli.output import json_option, print_json, say

_root_option = click.option(
    "--root", metavar="DIR", default="/", show_default=True, help="System whose own profiles count too."
)


@click.group(short_help="List and show board profiles.")
def boards() -> None:
    """List and show board profiles: those of hupfast, and those in /etc/hupfast/boards."""


@boards.command(name="list", short_help="List all profiles.")
@_root_option
@json_option
def list_(root: str, as_json: bool) -> None:
    """List all profiles, with what is wrong with those that are wrong."""
    from hupfast.board import find_profiles, read_board
    from hupfast.errors import HupfastError

    rows = []
    for name, path in find_profiles(Path(root)).items():
        try:
            rows.append({"name": name, "path": str(path), "description": read_board(path).description})
        except HupfastError as error:
            rows.append({"name": name, "path": str(path), "error": str(error)})
    if as_json:
        print_json({"ok": True, "exit_code": 0, "boards": rows})
        return
    width = max(len(row["name"]) for row in rows)
    for row in rows:
        about = row["description"] if "description" in row else f"wrong: {row['error']}"
        say(f"{row['name']:<{width}}  {about}")


@boards.command(short_help="Show one profile.")
@click.argument("name")
@_root_option
@json_option
def show(name: str, root: str, as_json: bool) -> None:
    """Show the profile NAME as it is written, and the layout that it extends, after checking it."""
    from hupfast.board import layouts_of, load_board
    from hupfast.profile import load_profile

    board = load_board(name, Path(root))
    if as_json:
        profile = load_profile(board.path, layouts_of(board.path)).as_dict()
        print_json({"ok": True, "exit_code": 0, "path": str(board.path), "profile": profile})
        return
    paths = [board.path] if board.layout is None else [board.path, board.layout]
    for path in paths:
        say(f"# {path}")
        say(path.read_text("utf-8").rstrip("\n"))


@boards.command(short_help="Tell which board this is.")
@_root_option
@json_option
def detect(root: str, as_json: bool) -> None:
    """
    Tell which board this is: by /etc/hupfast/board, else by device tree, DMI names, or balena's config.json.

    Exit code 4 when nothing tells it, or several profiles fit equally well.
    """
    from hupfast.board import load_board

    board = load_board(None, Path(root))
    if as_json:
        print_json({"ok": True, "exit_code": 0, "name": board.name, "path": str(board.path)})
    else:
        say(board.name)
