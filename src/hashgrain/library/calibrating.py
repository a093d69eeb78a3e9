"""Calibrating a library on pairs of its own items: what a distance means to its user, in the copy of its model."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashgrain.codes import Codes
from hashgrain.errors import BundleError, EvaluationError, ItemMissingError
from hashgrain.files import TooLargeError, read_regular
from hashgrain.library import codes_only, models
from hashgrain.library.codes_only import OWN
from hashgrain.library.selecting import ItemRef
from hashgrain.models import Bundle, Calibration
from hashgrain.models.description import read_calibration
from hashgrain.models.probabilities import Pairs, calibration_error, cross_validated, fitted
from hashgrain.search.scores import scores_of
from hashgrain.store import Store

LEAST = 100  # pairs of either kind
MAX_BYTES = 64 << 20
COLUMNS = ("a", "b", "same")
SAME = {"1": True, "true": True, "0": False, "false": False}
Pair = tuple[ItemRef, ItemRef, bool]  # two items, and whether they belong together


@dataclass(frozen=True)
class GrainCalibration:
    """The expected calibration error at a grain, if half of all pairs belong together."""

    error_before: float
    error_after: float  # measured on pairs that were left out of the fit, in five folds


@dataclass(frozen=True)
class CalibrationReport:
    """What a library was calibrated on, and what that changed."""

    together: int  # pairs
    apart: int
    grains: Mapping[str, GrainCalibration] = field(default_factory=dict)

    @property
    def margin(self) -> float:
        """How far a share of the pairs may be from that of all such pairs, with a confidence of 95 %."""
        return margin_of(min(self.together, self.apart))


def margin_of(pairs: int) -> float:
    """Half of the widest 95 % interval of a share of so many pairs."""
    return 1.96 * 0.5 / math.sqrt(pairs)


def read_pairs(file: str | os.PathLike[str]) -> list[Pair]:
    """The pairs of a .csv file with the columns a and b, which are paths or ids of items, and same: 1 or 0."""
    path = Path(file).expanduser()
    try:
        text = read_regular(path, MAX_BYTES).decode("utf-8-sig")
        rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
        if missing:
            raise EvaluationError(f"{path} has no column {missing[0]}; it has a, b and same", path=path)
        return [_pair(row, path, rows.line_num) for row in rows]
    except TooLargeError:
        raise EvaluationError(f"{path} is larger than {MAX_BYTES >> 20} MB", path=path) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise EvaluationError(f"the pairs in {path} cannot be read ({reason})", path=path) from None


def _pair(row: Mapping[str, str | None], path: Path, line: int) -> Pair:
    a, b, same = (row[name] for name in COLUMNS)
    if not a or not b:
        raise EvaluationError(f"{path}, line {line}: a and b are paths or ids of items", path=path)
    if same is None or same.strip().lower() not in SAME:
        raise EvaluationError(f"{path}, line {line}: same is {same!r}; it is 1 or 0", path=path)
    return a, b, SAME[same.strip().lower()]


def calibrate(
    store: Store, bundle: Bundle, pairs: Iterable[Pair], grain: str | None, *, dry_run: bool = False
) -> tuple[CalibrationReport, Bundle]:
    """Fit the probabilities of whole items on pairs, at one grain or at all, and write them into the library. Returns
    also the bundle with them."""
    grains = list(bundle.grains) if grain is None else [bundle.grains.named(grain)]
    for name in grains:
        bundle.grains.width(name)
    numbers = _numbered(store, pairs)
    ids = np.array(list(numbers), np.int64).reshape(-1, 2)
    same = np.array(list(numbers.values()), np.bool_)
    _check_enough(int(same.sum()), int((~same).sum()))
    with store.snapshot() as snapshot:
        left, right = (Codes(snapshot.codes(column.tolist()), bundle.grains) for column in ids.T)
    fits, errors = {}, {}
    for name in grains:
        apart = _distances(left, right, name)
        at_grain, bits = Pairs(apart[same], apart[~same]), bundle.grains[name]
        before = scores_of(bundle, name).whole
        errors[name] = GrainCalibration(
            round(calibration_error(before[at_grain.together], before[at_grain.apart]), 4),
            round(calibration_error(*cross_validated(at_grain, bits)), 4),
        )
        fits[name] = Calibration(_words(bundle, name), fitted(at_grain, bits))
    report = CalibrationReport(int(same.sum()), int((~same).sum()), errors)
    if dry_run:
        return report, bundle
    changed = _with_calibration(bundle, fits, len(same))
    models.write_calibration(store, changed)
    return report, changed


def reset(store: Store, bundle: Bundle) -> Bundle:
    """Write the calibration that the library had before it was calibrated on pairs of its own."""
    own = bundle.others.get(OWN)
    if own is None:
        raise EvaluationError(f"{store.path} has no calibration of its own", path=store.path)
    path = store.path / models.FOLDER
    if not isinstance(own, dict) or not isinstance(own.get("grains"), list):
        raise BundleError(f"{path} does not say what its calibration was before", path=path)
    before = read_calibration(own.get("before"), bundle.grains, path)
    rest = {name: each for name, each in bundle.calibration.items() if name not in own["grains"]}
    others = {key: value for key, value in bundle.others.items() if key != OWN}
    changed = codes_only.calibrated(bundle, _in_order({**rest, **before}, bundle), others)
    models.write_calibration(store, changed)
    return changed


def _with_calibration(bundle: Bundle, fits: Mapping[str, Calibration], pairs: int) -> Bundle:
    """The bundle with these calibrations, which keeps those of before."""
    own = bundle.others.get(OWN)
    known = own if isinstance(own, dict) and isinstance(own.get("grains"), list) else {"grains": [], "before": {}}
    replaced = {name: each for name, each in bundle.calibration.items() if name in fits and name not in known["grains"]}
    before = {**known["before"], **{name: {"whole": each.described()} for name, each in replaced.items()}}
    names = [name for name in bundle.grains if name in fits or name in known["grains"]]
    others = {**bundle.others, OWN: {"pairs": pairs, "grains": names, "before": before}}
    return codes_only.calibrated(bundle, _in_order({**bundle.calibration, **fits}, bundle), others)


def _in_order(calibration: Mapping[str, Calibration], bundle: Bundle) -> dict[str, Calibration]:
    return {name: calibration[name] for name in bundle.grains if name in calibration}


def _words(bundle: Bundle, grain: str) -> Mapping[str, int]:
    """The words stay as they are: they hold up to an error rate that takes many more pairs to measure."""
    if grain in bundle.calibration:
        return bundle.calibration[grain].words
    return {word: each.distance for word, each in bundle.words.items() if each.grain == grain}


def _distances(left: Codes, right: Codes, grain: str) -> NDArray[np.int64]:
    unlike = Codes(left.words ^ right.words, left.grains).at(grain)
    return np.asarray(np.bitwise_count(unlike.words).sum(axis=1, dtype=np.int64))


def _check_enough(together: int, apart: int) -> None:
    for count, which in ((together, "belong together"), (apart, "do not belong together")):
        if count < LEAST:
            known = f", and of {count} within {margin_of(count):.2f}" if count else ""
            raise EvaluationError(
                f"too few pairs: {count} that {which}, at least {LEAST} are needed. A share of {LEAST} pairs is known"
                f" within {margin_of(LEAST):.2f} (95 %){known}"
            )


def _numbered(store: Store, pairs: Iterable[Pair]) -> dict[tuple[int, int], bool]:
    """Whether each pair of ids belongs together; a pair that is named twice counts once."""
    ids: dict[ItemRef, int] = {}
    known: dict[tuple[int, int], bool] = {}
    for a, b, same in pairs:
        one, other = (ids[each] if each in ids else ids.setdefault(each, _id_of(store, each)) for each in (a, b))
        if one == other:
            raise EvaluationError(f"{a} and {b} are the same item; a pair has two")
        key = (min(one, other), max(one, other))
        if known.setdefault(key, bool(same)) != bool(same):
            raise EvaluationError(f"{a} and {b} are a pair that belongs together and one that does not")
    return known


def _id_of(store: Store, item: ItemRef) -> int:
    """The id of the item of this path or id; in text, a path comes first."""
    number = _number(item)
    if not isinstance(item, (int, np.integer)):
        name = os.fspath(item)
        found = store.known(os.path.abspath(name)) or store.known(name)
        if found is not None:
            return found.id
        if number is None:
            raise ItemMissingError(f"nothing in {store.path} has the path {name}", path=store.path)
    with store.snapshot() as snapshot:
        if number is None or snapshot.code(number) is None:
            raise ItemMissingError(f"no item {item} in {store.path}", path=store.path)
    return number


def _number(item: ItemRef) -> int | None:
    if isinstance(item, (int, np.integer)):
        return int(item)
    name = os.fspath(item)
    return int(name) if name.isdecimal() else None
