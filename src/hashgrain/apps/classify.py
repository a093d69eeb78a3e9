"""Classes for pictures by their nearest labelled neighbors, and how often these are right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from hashgrain.apps.labels import Labels, check_labelled, read_labels, usual_grain
from hashgrain.apps.votes import Ballot, leave_one_out, voters_of
from hashgrain.codes import Codes
from hashgrain.errors import ImageError, QueryError
from hashgrain.library import Library, encode_sources
from hashgrain.media import decode_workers
from hashgrain.media.cost import DEFAULT_MAX_PIXELS
from hashgrain.sources import Refused
from hashgrain.types import SourcesLike


@dataclass(frozen=True)
class Classified:
    """The classes of one picture, the most confident first."""

    path: str
    votes: Ballot

    def as_dict(self) -> dict[str, Any]:
        classes = [{"label": vote.label, "confidence": round(vote.confidence, 4)} for vote in self.votes]
        return {"path": self.path, "labels": classes}


@dataclass(frozen=True)
class ClassFigures:
    """One class: how many items have it, the share of those given it that have it, and of those with it that got it."""

    label: str
    items: int
    given: int
    precision: float | None  # None where it was given to none
    recall: float | None  # None where no item that was asked has it


@dataclass(frozen=True)
class Confusion:
    """Items of the class `label` that were given another."""

    label: str
    given: str
    items: int


@dataclass(frozen=True)
class ClassifyReport:
    """How often the vote of the others is right on the labelled items."""

    key: str
    grain: str
    k: int
    labelled: int
    asked: int
    accuracy: float
    most_frequent: float  # the accuracy of always saying the most frequent class
    calibration_error: float
    classes: Sequence[ClassFigures]
    confusions: Sequence[Confusion]  # the most frequent first

    def as_dict(self) -> dict[str, Any]:
        """Return the report as a dictionary for JSON. The keys are stable."""
        facts = {"labeled" if name == "labelled" else name: value for name, value in asdict(self).items()}
        return facts | {
            "accuracy": round(self.accuracy, 4),
            "most_frequent": round(self.most_frequent, 4),
            "calibration_error": round(self.calibration_error, 4),
        }


def classify(
    library: Library,
    queries: SourcesLike,
    key: str,
    *,
    k: int | None = None,
    grain: str | None = None,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    progress: Callable[[int], None] | None = None,
) -> tuple[list[Classified], list[Refused]]:
    """Classify pictures by their `k` nearest items that have a label under `key`: files, folders, or all that `add`
    takes. Returns the classes of each, and the pictures that could not be opened. If none could, that is an error."""
    grain = usual_grain(library, grain)
    labelled = read_labels(library, key)
    check_labelled(library, labelled)
    voters = voters_of(labelled, library.bundle, grain, k)
    paths: list[str] = []
    codes: list[Codes] = []
    refused: list[Refused] = []
    for path, code in encode_sources(library.encoder, queries, workers=decode_workers(), max_pixels=max_pixels):
        if isinstance(code, Codes):
            paths.append(path)
            codes.append(code)
        else:
            refused.append(Refused(path, str(code)))
        if progress:
            progress(len(paths) + len(refused))
    if not paths and not refused:
        raise QueryError("there are no pictures to classify")
    if not paths:
        more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
        raise ImageError(f"{refused[0].path}: {refused[0].reason}{more}", path=refused[0].path)
    ballots = voters.ask(Codes.concatenate(codes))
    return [Classified(path, ballot) for path, ballot in zip(paths, ballots, strict=True)], refused


def measure_classes(library: Library, key: str, *, k: int | None = None, grain: str | None = None) -> ClassifyReport:
    """Ask the labelled items of each other, and report how often the answer is right.

    An answer is right if the item has that label, whatever other labels it has. Of more than 10,000 labelled items, so
    many are asked.
    """
    grain = usual_grain(library, grain)
    labelled = read_labels(library, key)
    check_labelled(library, labelled)
    voters = voters_of(labelled, library.bundle, grain, k)
    asked = leave_one_out(voters)
    labels = [labelled.labels[row] for row in asked.rows.tolist()]
    given = [ballot[0].label for ballot in asked.ballots]
    counts = Counter(label for own in labels for label in own)
    return ClassifyReport(
        key=key,
        grain=grain,
        k=voters.k,
        labelled=len(labelled),
        asked=len(labels),
        accuracy=asked.accuracy,
        most_frequent=max(counts.values()) / len(labels),
        calibration_error=asked.calibration_error,
        classes=_classes(counts, labels, given),
        confusions=_confusions(labels, given),
    )


def _classes(counts: Mapping[str, int], labels: Sequence[Labels], given: Sequence[str]) -> list[ClassFigures]:
    often = Counter(given)
    right = Counter(name for own, name in zip(labels, given, strict=True) if name in own)
    return [
        ClassFigures(
            label=name,
            items=counts.get(name, 0),
            given=often[name],
            precision=right[name] / often[name] if often[name] else None,
            recall=right[name] / counts[name] if counts.get(name) else None,
        )
        for name in sorted({*counts, *often})
    ]


def _confusions(labels: Sequence[Labels], given: Sequence[str]) -> list[Confusion]:
    """An item with several labels counts for each of them."""
    pairs = Counter((label, name) for own, name in zip(labels, given, strict=True) if name not in own for label in own)
    ranked = sorted(pairs.items(), key=lambda pair: (-pair[1], pair[0]))
    return [Confusion(label, name, items) for (label, name), items in ranked]
