"""`hashgrain serve`: a library in the browser, and over HTTP."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hashgrain.cli.output import Json, LibraryPath, Quiet, print_json, print_line, say
from hashgrain.errors import HashgrainError

if TYPE_CHECKING:
    from hashgrain.server.state import State

TOKEN = "HASHGRAIN_SERVE_TOKEN"
PORT = 8080
FOLDER_NAME = re.compile(r"[\w-]{1,64}")
LEAST_TOKEN, MOST_TOKEN = 16, 512  # characters


def serve(
    library: LibraryPath,
    host: Annotated[str, typer.Option("--host", help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[
        int | None,
        typer.Option(
            "--port", min=0, max=65535, help="The port; 0 takes one that is free. (default: 8080, with --open 0)"
        ),
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    token_file: Annotated[
        Path | None,
        typer.Option("--token-file", help="Ask every client for the token that this file holds."),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", help="A name by which clients may call this server. Repeatable."),
    ] = None,
    writable: Annotated[
        bool, typer.Option("--writable", help="Let clients add and remove pictures, and change metadata.")
    ] = False,
    folder: Annotated[
        list[str] | None,
        typer.Option(
            "--folder",
            help="Let clients add from a folder, NAME=PATH; they know its name. Repeatable, with --writable.",
        ),
    ] = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Add by itself what is new or changed in the folders of --folder.")
    ] = False,
    trash: Annotated[
        Path | None, typer.Option("--trash", help="Let clients move copies to this folder. Goes with --writable.")
    ] = None,
    urls: Annotated[
        bool, typer.Option("--urls", help="Fetch pictures from the https addresses that clients name.")
    ] = False,
    max_upload: Annotated[
        int, typer.Option("--max-upload", min=1, max=512, help="Megabytes that a picture may have.")
    ] = 50,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Processes that decode pictures. (default: half the cores)")
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option("--rate", min=0.1, help="Requests a second that one address may make. (default: no limit)"),
    ] = None,
    log_json: Annotated[
        bool, typer.Option("--log-json", help="Write the access log as JSON, one object a line.")
    ] = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Serve LIBRARY over HTTP: a page to search in the browser, and an API for programs.

    Only this machine can reach it, unless --host says otherwise. Then a token is needed: --token-file, or the
    environment variable HASHGRAIN_SERVE_TOKEN. Clients send it as Authorization: Bearer TOKEN; a browser opens
    /?token=TOKEN once.

    The library is read as it is at each search, so pictures that another program adds are found. With --writable, this
    server is the one that writes. Each request is a line on stderr. Ctrl-C finishes what was begun, and stops.

    Example: hashgrain serve photos.hg --open
    """
    try:
        if watch:
            import watchfiles  # noqa: F401  before anything is opened
        from hashgrain.server.running import serve as run
        from hashgrain.server.settings import Settings
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "hashgrain":
            raise
        raise HashgrainError(f"serving needs {error.name}: pip install 'hashgrain[serve]'") from None

    for option, given in (("--trash", trash), ("--folder", folder)):
        if given and not writable:
            raise typer.BadParameter(f"{option} goes with --writable")
    if watch and not folder:
        raise typer.BadParameter("--watch goes with --folder")
    settings = Settings(
        library=library,
        host=host,
        port=(0 if show else PORT) if port is None else port,
        token=_token(token_file),
        allowed_hosts=tuple(allow_host or ()),
        writable=writable,
        folders=_folders(folder or ()),
        watch=watch,
        trash=trash,
        urls=urls,
        max_upload=max_upload << 20,
        workers=workers,
        rate=rate,
        log_json=log_json,
        quiet=quiet,
    )

    def ready(address: str, state: State) -> None:
        if as_json:
            print_json({"library": str(library), "address": address, "writable": writable}, indent=None)
        else:
            print_line(address)
        if show:
            typer.launch(address)

    run(settings, ready)
    say("stopped", quiet)
    return 0


def _folders(given: Sequence[str]) -> tuple[tuple[str, Path], ...]:
    """NAME=PATH, each name once."""
    folders: dict[str, Path] = {}
    for each in given:
        name, equals, path = each.partition("=")
        if not equals or not path or not FOLDER_NAME.fullmatch(name):
            raise typer.BadParameter(f"--folder {each!r}: give NAME=PATH, with a name of letters, digits, _ and -")
        if name in folders:
            raise typer.BadParameter(f"--folder: the name {name} is given twice")
        folders[name] = Path(path).expanduser().absolute()
    return tuple(folders.items())


def _token(file: Path | None) -> str | None:
    """The token of the file, or else of the environment."""
    if file is None:
        token = os.environ.get(TOKEN)
        return None if token is None else _checked(token, TOKEN)
    from hashgrain.files import read_regular

    if os.name == "posix" and stat.S_IMODE(os.stat(file).st_mode) & 0o077:
        raise HashgrainError(f"{file} can be read by other users; its token is no secret (chmod 600 {file})")
    return _checked(read_regular(file, 4096).decode("utf-8", "replace"), str(file))


def _checked(text: str, where: str) -> str:
    token = text.strip()
    if not LEAST_TOKEN <= len(token) <= MOST_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise HashgrainError(
            f"{where} holds no token: it is {LEAST_TOKEN} to {MOST_TOKEN} plain characters without spaces"
        )
    return token
