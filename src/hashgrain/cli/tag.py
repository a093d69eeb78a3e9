"""`hashgrain tag`: labels for pictures that have none, from their nearest labeled neighbors."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from hashgrain.cli.exit_codes import OK, PARTLY
from hashgrain.cli.output import (
    Json,
    LibraryPath,
    Quiet,
    complain,
    print_json,
    print_line,
    print_table,
    progress_bar,
    say,
)
from hashgrain.cli.remedies import refusal_documents

if TYPE_CHECKING:
    from hashgrain.apps.tag import Tagging
    from hashgrain.library import Library
    from hashgrain.sources import Refused

LabelKey = Annotated[
    str,
    typer.Option(
        "--from", metavar="KEY", help="The key of the metadata that holds labels, or file.keywords for those of files."
    ),
]
LabelGrain = Annotated[
    str | None,
    typer.Option("--grain", "-g", help="How alike neighbors are, by a grain of the model. (default: the finest)"),
]
Voters = Annotated[
    int | None, typer.Option("-k", help="How many labeled neighbors vote. (default: 10, fewer for rare labels)")
]
Page = Annotated[Path | None, typer.Option("--html", help="Write a page with thumbnails to this file.")]


def tag(
    library: LibraryPath,
    key: LabelKey,
    to: Annotated[
        str | None, typer.Option("--to", metavar="KEY", help="The key to write to. (default: machine.KEY)")
    ] = None,
    grain: LabelGrain = None,
    k: Voters = None,
    min_confidence: Annotated[
        float, typer.Option("--min-confidence", min=0, max=1, help="The least share of the votes of a label.")
    ] = 0.5,
    where: Annotated[
        str | None, typer.Option("--where", "-w", help='Label only pictures for which this holds: "year >= 2020".')
    ] = None,
    ask: Annotated[
        int | None,
        typer.Option(
            "--ask", metavar="N", min=1, help="List N pictures to label by hand, whose label would teach most."
        ),
    ] = None,
    write: Annotated[
        Literal["meta", "xmp"],
        typer.Option("--write", help="Write to the library's metadata, or to XMP sidecars: picture.jpg.xmp."),
    ] = "meta",
    yes: Annotated[bool, typer.Option("--yes", help="Write the labels. Without it, they are only shown.")] = False,
    undo: Annotated[
        bool, typer.Option("--undo", help="Take back the labels that --yes wrote there, and give none.")
    ] = False,
    html: Page = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> int:
    """Give labels to the pictures of LIBRARY that have none, from their nearest neighbors that have some.

    The labels of people are under --from: a text, or a list of texts. The nearest labeled pictures vote, each with the
    probability that it belongs with the picture, and a label's confidence is its share of the votes. How often that is
    right is measured on the labeled pictures, each asked of the others.

    Nothing is written without --yes. The metadata key `machine.label` then holds the labels that a machine gave beside
    your own `label`, and `machine.label_confidence` how sure each is. In a sidecar, the labels become keywords, and
    everything else in it stays. --undo takes the labels of the machine out again.

    Example: hashgrain tag photos.hg --from label --min-confidence 0.8 --yes
    """
    from hashgrain.apps.tag import tag as propose
    from hashgrain.apps.tag import usual_target
    from hashgrain.library import Library

    if to is not None and write == "xmp":
        raise typer.BadParameter("--to names a key of metadata; it does not go with --write xmp")
    if ask is not None:
        if yes or undo or to is not None:
            raise typer.BadParameter(
                "--ask lists pictures to label by hand; it does not go with --yes, --undo and --to"
            )
        return _ask(library, key, ask, {"k": k, "grain": grain, "where": where}, html, as_json, quiet)
    target = (to or usual_target(key)) if write == "meta" else None
    if undo:
        return _undo(library, key, target, where, as_json, quiet)
    written: int | None = None
    refused: list[Refused] = []
    with Library.open(library, "w" if yes and write == "meta" else "r") as opened:
        grain = None if grain is None else opened.grains.named(grain)
        tagging = propose(opened, key, k=k, grain=grain, min_confidence=min_confidence, where=where)
        if html is not None:
            from hashgrain.apps.label_pages import write_tag_page

            say(f"wrote {write_tag_page(opened, tagging, html)}", quiet)
        if yes:
            written, refused = _write(opened, tagging, write, to, quiet)
    if as_json:
        print_json(_document(library, tagging, target, written, refused))
    else:
        for each in refused:
            complain(f"refused: {each.path}: {each.reason}")
        _print(tagging, written, target, quiet)
    return PARTLY if refused else OK


def _write(library: Library, tagging: Tagging, write: str, to: str | None, quiet: bool) -> tuple[int, list[Refused]]:
    """How many items or sidecars changed, and which sidecars could not be used."""
    from hashgrain.apps.tag import write_meta, write_sidecars

    if write == "meta":
        return write_meta(library, tagging, to), []
    total = len(tagging.proposals) + len(tagging.without) + tagging.labelled
    with progress_bar("writing sidecars", total, quiet) as advance:
        return write_sidecars(tagging, advance)


def _print(tagging: Tagging, written: int | None, target: str | None, quiet: bool) -> None:
    from hashgrain.report.page import file_address

    rows = [
        (", ".join(f"{vote.label} {vote.confidence:.2f}" for vote in each.votes), each.item.id, each.item.path)
        for each in tagging.proposals
    ]
    print_table("", ("labels", "id", "path"), rows, [file_address(row[-1]) for row in rows])
    say(
        f"{len(rows):,} get labels from the {tagging.labelled:,} that have some; for {len(tagging.without):,} none"
        f" reaches {tagging.min_confidence:g}",
        quiet,
    )
    say(tagging.measured.summary(), quiet)
    where = "sidecars" if target is None else target
    if written is None:
        say(f"nothing was written; --yes writes to {where}", quiet)
    else:
        say(f"wrote {written:,} {where}" if target is None else f"changed {where} of {written:,}", quiet)


def _document(
    library: Path, tagging: Tagging, target: str | None, written: int | None, refused: list[Refused]
) -> dict[str, Any]:
    import dataclasses

    measured = dataclasses.asdict(tagging.measured)
    figures = {name: round(value, 4) if isinstance(value, float) else value for name, value in measured.items()}
    return {
        "library": str(library),
        "from": tagging.key,
        "to": target,
        "grain": tagging.grain,
        "k": tagging.k,
        "min_confidence": tagging.min_confidence,
        "labeled": tagging.labelled,
        "proposals": [each.as_dict() for each in tagging.proposals],
        "without": [{"id": item.id, "path": item.path} for item in tagging.without],
        "measured": figures,
        "written": written,
        "refused": refusal_documents(refused),
    }


def _ask(
    library: Path, key: str, count: int, options: dict[str, Any], html: Path | None, as_json: bool, quiet: bool
) -> int:
    """List the pictures whose label would teach most."""
    from hashgrain.apps.label_next import next_to_label
    from hashgrain.library import Library
    from hashgrain.report.page import file_address

    with Library.open(library) as opened:
        if options["grain"] is not None:
            options["grain"] = opened.grains.named(options["grain"])
        asked = next_to_label(opened, key, count, **options)
        if html is not None:
            from hashgrain.apps.label_pages import write_ask_page

            say(f"wrote {write_ask_page(opened, asked, key, html)}", quiet)
    if as_json:
        print_json({"library": str(library), "from": key, "ask": [each.as_dict() for each in asked]})
        return OK
    rows = [(f"{each.teaches:.2f}", each.item.id, each.item.path) for each in asked]
    print_table("label these next", ("teaches", "id", "path"), rows, [file_address(row[-1]) for row in rows])
    if not rows:
        say("every picture has a label", quiet)
    return OK


def _undo(library: Path, key: str, target: str | None, where: str | None, as_json: bool, quiet: bool) -> int:
    """Take back the labels of the machine: from the metadata under `target`, or from sidecars."""
    from hashgrain.apps.tag import undo_meta, undo_sidecars
    from hashgrain.library import Library

    refused: list[Refused] = []
    with Library.open(library, "r" if target is None else "w") as opened:
        if target is not None:
            changed = undo_meta(opened, key, target, where=where)
        else:
            with progress_bar("changing sidecars", None, quiet) as advance:
                changed, refused = undo_sidecars(opened, where=where, progress=advance)
    if as_json:
        facts = {"library": str(library), "from": key, "to": target, "undone": changed}
        print_json(facts | {"refused": refusal_documents(refused)})
    else:
        for each in refused:
            complain(f"refused: {each.path}: {each.reason}")
        print_line(f"took back the labels of {changed:,}" + ("" if target else " sidecars"))
    return PARTLY if refused else OK
