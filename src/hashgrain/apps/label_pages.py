"""What `tag` and `classify` found, as pages to look at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hashgrain.apps.classify import Classified, ClassifyReport
from hashgrain.apps.label_next import ToLabel
from hashgrain.apps.page_files import write_page
from hashgrain.apps.tag import Tagging
from hashgrain.apps.votes import Ballot
from hashgrain.errors import ImageError
from hashgrain.library import Library
from hashgrain.media import DecodePool, decode_workers
from hashgrain.report.label_pages import Cell, classes_page, labels_page
from hashgrain.report.page import PageGroup, PageHit

MOST_OF_LABEL = 24  # pictures shown of each label
MOST_SHOWN = 480  # and of all
MOST_CONFUSIONS = 100


def write_tag_page(library: Library, tagging: Tagging, file: Path | None) -> Path:
    """Write the page of proposals, grouped by label, each group with the least sure first: those are worth a look."""
    groups, room = [], MOST_SHOWN
    for name in tagging.names:
        given = [each for each in tagging.proposals if name in each.labels]
        given.sort(key=lambda each: (_confidence(each.votes, name), each.item.id))
        shown = given[: min(MOST_OF_LABEL, room)]
        room -= len(shown)
        if given:
            hits = [_card(library, each.item.id, each.item.path, name, each.votes) for each in shown]
            groups.append(PageGroup(_title(name, len(given), len(shown)), hits))
    counts = (
        f"{len(tagging.proposals):,} pictures get labels from the {tagging.labelled:,} that have some under"
        f" {tagging.key}; for {len(tagging.without):,} none reaches {tagging.min_confidence:g}. The number on a card is"
        " the share of the votes for the label; the least sure come first."
    )
    measured = tagging.measured.summary()
    lead = [counts, f"{measured[0].upper()}{measured[1:]}."]
    return write_page(labels_page(groups, title=f"Labels for {library.path.name}", lead=lead), file)


def write_ask_page(library: Library, asked: Sequence[ToLabel], key: str, file: Path | None) -> Path:
    """Write the page of the pictures to label next."""
    shown = asked[:MOST_SHOWN]
    hits = [
        PageHit(Path(each.item.path).name, each.item.path, _thumbnail(library, each.item.id), f"{each.teaches:.2f}", {})
        for each in shown
    ]
    lead = ["Each teaches most after those before it. The number on a card is how many pictures it would teach."]
    group = PageGroup(_title(f"To label under {key}", len(asked), len(shown)), hits)
    return write_page(labels_page([group], title=f"Label these next in {library.path.name}", lead=lead), file)


def write_classified_page(classified: Sequence[Classified], key: str, file: Path | None) -> Path:
    """Write the page of pictures that were classified, grouped by class."""
    names = sorted({each.votes[0].label for each in classified})
    groups, room = [], MOST_SHOWN
    with DecodePool(None, workers=decode_workers()) as pool:
        for name in names:
            given = [each for each in classified if each.votes[0].label == name]
            shown = given[: min(MOST_OF_LABEL, room)]
            room -= len(shown)
            hits = [_outside_card(pool, each, name) for each in shown]
            groups.append(PageGroup(_title(name, len(given), len(shown)), hits))
    lead = [f"{len(classified):,} pictures by their nearest neighbors with a label under {key}."]
    return write_page(labels_page(groups, title="Classified pictures", lead=lead), file)


def write_report_page(report: ClassifyReport, file: Path | None) -> Path:
    """Write the page of how often the classes are right."""
    classes: list[list[Cell]] = [
        [each.label, each.items, each.given, each.precision, each.recall] for each in report.classes
    ]
    pairs: list[list[Cell]] = [[each.label, each.given, each.items] for each in report.confusions[:MOST_CONFUSIONS]]
    right = (
        f"{report.accuracy:.1%} of {report.asked:,} labeled items get a right label from their {report.k} nearest"
        f" others at {report.grain}. Always saying the most frequent label is right for {report.most_frequent:.1%}."
    )
    lead = [right, f"The calibration error of the confidence is {report.calibration_error:.3f}."]
    tables: dict[str, tuple[Sequence[str], Sequence[Sequence[Cell]]]] = {
        "Classes": (["label", "items", "given to", "precision", "recall"], classes),
        "Confusions, the most frequent first": (["label", "given", "items"], pairs),
    }
    return write_page(classes_page(title=f"Classes by {report.key}", lead=lead, tables=tables), file)


def _confidence(votes: Ballot, name: str) -> float:
    return next(vote.confidence for vote in votes if vote.label == name)


def _title(name: str, count: int, shown: int) -> str:
    return f"{name}: {count:,}" + (f", {shown} shown" if shown < count else "")


def _card(library: Library, item: int, path: str, name: str, votes: Ballot) -> PageHit:
    return PageHit(
        name=Path(path).name,
        path=path,
        thumbnail=_thumbnail(library, item),
        word=f"{_confidence(votes, name):.2f}",
        distances={},
        note=", ".join(f"{vote.label} {vote.confidence:.2f}" for vote in votes),
    )


def _outside_card(pool: DecodePool, each: Classified, name: str) -> PageHit:
    try:
        small = pool.thumbnail(Path(each.path)) if Path(each.path).is_file() else None
    except ImageError:
        small = None
    votes = ", ".join(f"{vote.label} {vote.confidence:.2f}" for vote in each.votes[:3])
    absolute = str(Path(each.path).absolute())
    return PageHit(Path(each.path).name, absolute, small, f"{_confidence(each.votes, name):.2f}", {}, note=votes)


def _thumbnail(library: Library, item: int) -> bytes | None:
    try:
        return library.thumbnail(item)
    except ImageError:
        return None  # the file is gone; its code still answers
