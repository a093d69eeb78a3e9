"""`hashgrain demo`: the whole line, from pictures to answers, in a minute."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hashgrain.cli.output import Quiet, print_line, progress_bar


def demo(
    photos: Annotated[
        Path | None,
        typer.Option("--photos", help="A folder of your own pictures. Without it, some are drawn."),
    ] = None,
    folder: Annotated[Path, typer.Option("--folder", help="Where the demo puts what it makes.")] = Path("demo"),
    quiet: Quiet = False,
) -> int:
    """Build a small library, search it at each grain, and write a page of results to look at."""
    from hashgrain.apps.demo import run_demo

    with progress_bar("adding", None, quiet) as advance:
        story = run_demo(folder, photos, progress=lambda so_far: advance(so_far.seen))
    for line in story:
        print_line(line)
    return 0
