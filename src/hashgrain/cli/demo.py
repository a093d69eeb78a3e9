"""`hashgrain demo`: the whole line, from pictures to answers, in a minute."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from hashgrain.cli.output import Json, Quiet, print_json, print_line, progress_bar, say


def demo(
    photos: Annotated[
        Path | None,
        typer.Option("--photos", help="A folder of your own pictures. Without it, the demo draws some."),
    ] = None,
    folder: Annotated[Path, typer.Option("--folder", help="Folder for everything that the demo makes.")] = Path("demo"),
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Build a small library, search it at each grain, and write a page of results to look at."""
    from hashgrain.apps.demo import run_demo

    with progress_bar("adding", None, quiet) as advance:
        story = run_demo(folder, photos, lambda so_far: advance(so_far.seen), next_commands)
    if not as_json:
        for line in story:
            print_line(line)
        return 0
    for line in story:  # the demo is done as its story is told
        say(line, quiet)
    print_json({"folder": str(folder), "page": str(folder / "results.html")})
    return 0


def next_commands(library: Path, picture: Path, phrase: str | None) -> Iterator[str]:
    """What to type next."""
    yield "Try next:"
    yield f"  hashgrain search {library} {picture} -k 5 --open"
    yield f"  hashgrain search {library} {picture} --grain kind --where 'width > 300'"
    if phrase:
        yield f'  hashgrain search {library} --text "{phrase}" --open'
    yield "  hashgrain add mine.hg ~/Pictures"
    needs = "" if find_spec("fastapi") else "   # needs: pip install 'hashgrain[serve]'"
    yield f"In the browser: hashgrain serve {library} --open{needs}"
