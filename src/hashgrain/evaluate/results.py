"""Results on disk: `result.json` (figures, data and settings) and `per_query.npz` (AP of every query)."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hashgrain import __version__
from hashgrain.errors import EvaluationError
from hashgrain.evaluate.health import Health
from hashgrain.evaluate.hypergeometric import Floats
from hashgrain.evaluate.manifest import RULES, Manifest
from hashgrain.evaluate.means import Figure
from hashgrain.evaluate.measure import Curves, Distance, Measured
from hashgrain.evaluate.overlap import Overlap
from hashgrain.files import write_atomically, writing_atomically

FORMAT = 1
FILE, PER_QUERY = "result.json", "per_query.npz"
DIGITS = 6
MOST_PAIRED = 512  # bits; for longer codes, the matrix of correlations is not stored


_PROTOCOL = {"name": str, "version": int, "manifest": str, "seed": int, "cutoff": int | None, "convention": str,
             "relevance": str, "transform": str, "about": str, "queries": int, "database": int}  # fmt: skip
_ROW = {"method": str, "kind": str, "bits": int | None, "distance": str, "seed": int, "figures": dict}


@dataclass(frozen=True, eq=False)
class Row:
    """One method at one width."""

    method: str
    kind: str  # model, reference, or codes (made by another program)
    bits: int | None
    distance: Distance
    seed: int
    figures: Mapping[str, Figure]
    grain: str | None = None
    curves: Curves = field(default_factory=dict)
    health: Mapping[str, Any] | None = None
    without_relevant: int = 0
    per_query: Floats = field(default_factory=lambda: np.empty(0))

    @property
    def name(self) -> str:
        """What distinguishes rows, apart from seeds."""
        parts = [self.method, f"{self.bits} bits" if self.bits else ""]
        parts.append("asymmetric" if self.distance == "asymmetric" else "")
        return ", ".join(filter(None, parts))


@dataclass(frozen=True, eq=False)
class Result:
    protocol: Mapping[str, Any]
    rows: Sequence[Row]
    warnings: Sequence[str] = ()
    created: str = ""
    made_by: Mapping[str, Any] = field(default_factory=dict)  # the model and the options of the run
    hashgrain: str = __version__
    learned_from: Overlap | None = None  # overlap with the training pictures; None where the model has no record

    @property
    def manifest(self) -> str:
        return str(self.protocol["manifest"])

    def described(self) -> dict[str, Any]:
        """The content of `result.json`."""
        rows = []
        for row in self.rows:
            plain = {name: getattr(row, name) for name in ("method", "kind", "bits", "grain", "distance", "seed")}
            plain["figures"] = {name: _plain(figure) for name, figure in row.figures.items()}
            rows.append(plain | {"curves": row.curves, "health": row.health, "without_relevant": row.without_relevant})
        head: dict[str, Any] = {"format": FORMAT, "hashgrain": self.hashgrain, "created": self.created}
        head["made by"] = dict(self.made_by)
        head["learned from"] = self.learned_from.described() if self.learned_from else None
        return head | {"protocol": dict(self.protocol), "warnings": list(self.warnings), "rows": rows}

    def write(self, folder: str | Path) -> Path:
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        content = (json.dumps(self.described(), allow_nan=False) + "\n").encode()
        values = {f"row{i}": row.per_query.astype(np.float32) for i, row in enumerate(self.rows)}
        with writing_atomically(target / PER_QUERY) as file:
            np.savez_compressed(file, **values)  # type: ignore[arg-type]
        write_atomically(target / FILE, content)  # last: a run with this file is finished
        return target

    @classmethod
    def read(cls, place: str | Path) -> Result:
        """Read a run's folder, or a result.json alone (then without the figures of every query)."""
        file = Path(place) / FILE if Path(place).is_dir() else Path(place)
        try:
            described = json.loads(file.read_text(encoding="utf-8"))
            if described["format"] > FORMAT:
                raise EvaluationError(
                    f"{file} has result format {described['format']}, this HashGrain reads up to {FORMAT}:"
                    " upgrade hashgrain"
                )
            per_query = _per_query(file.with_name(PER_QUERY), len(described["rows"]))
            rows = [_row(row, values) for row, values in zip(described["rows"], per_query, strict=True)]
            protocol = _checked(described["protocol"], _PROTOCOL)
            head = _checked(described, {"warnings": list, "created": str, "made by": dict, "hashgrain": str})
            learned = Overlap.read(described.get("learned from"))  # older results lack it
            warnings, created, made_by = (head[name] for name in ("warnings", "created", "made by"))
            return cls(protocol, rows, warnings, created, made_by, head["hashgrain"], learned)
        except OSError as error:
            raise EvaluationError(f"cannot read the result {file} ({error.strerror})") from None
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise EvaluationError(f"{file} is not the result of an evaluation ({error!r})") from None


def described_protocol(manifest: Manifest, about: str = "") -> dict[str, Any]:
    """What a result records of its protocol."""
    rules = {rule: manifest.rules[rule] for rule in RULES if rule != "protocol"}
    counts = {split: len(index) for split, index in manifest.splits.items()}
    name, classes = manifest.rules["protocol"], len(manifest.class_names())
    facts = {"name": name, "seed": manifest.seed, "manifest": manifest.digest, "classes": classes, "about": about}
    more = {"train in database": manifest.database_holds_train, "pictures": manifest.pictures}
    return facts | rules | counts | more


def row_of(
    measured: Measured,
    *,
    method: str,
    kind: str,
    bits: int | None,
    distance: Distance,
    seed: int,
    grain: str | None = None,
    health: Health | None = None,
) -> Row:
    described = described_health(health) if health else None
    return Row(
        method,
        kind,
        bits,
        distance,
        seed,
        measured.figures,
        grain,
        measured.curves,
        described,
        measured.without_relevant,
        measured.per_query,
    )


def described_health(health: Health) -> dict[str, Any]:
    pairs = health.correlations
    drawn = health.correlation if health.bits <= MOST_PAIRED else ()  # 100 MB for 4,096 bits
    return {
        "entropy": [round(float(value), 4) for value in health.entropy],
        "share of ones": [round(float(value), 4) for value in health.ones],
        "dead bits": health.dead_bits,
        "distinct": health.distinct,
        "largest bucket": health.largest_bucket,
        "colliding": round(health.colliding, DIGITS),
        "mean correlation": round(float(pairs.mean()), 4) if len(pairs) else 0.0,
        "largest correlation": round(float(pairs.max(initial=0)), 4),
        "correlation": [[round(float(value), 2) for value in line] for line in drawn],
    }


def now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _plain(figure: Figure) -> dict[str, float]:
    return {name: round(value, DIGITS) for name, value in asdict(figure).items() if value is not None}


def _checked(entries: Mapping[str, Any], kinds: Mapping[str, Any]) -> dict[str, Any]:
    """The entries, after a check that all are present and of the right type."""
    for name, kind in kinds.items():
        if not isinstance(entries[name], kind) or isinstance(entries[name], bool):
            raise TypeError(f"{name} is {entries[name]!r:.80}")
    return dict(entries)


def _figure(described: Mapping[str, Any]) -> Figure:
    if not all(isinstance(value, (int, float)) and math.isfinite(value) for value in described.values()):
        raise TypeError(f"a figure is {described!r:.80}")
    return Figure(**described)


def _row(described: Mapping[str, Any], per_query: Floats) -> Row:
    _checked(described, _ROW)
    figures = {str(name): _figure(figure) for name, figure in described["figures"].items()}
    plain = {name: described[name] for name in ("method", "kind", "bits", "distance", "seed")}
    curves, lost = described["curves"], described["without_relevant"]
    return Row(**plain, figures=figures, grain=described["grain"], curves=curves, health=described["health"],
               without_relevant=lost, per_query=per_query)  # fmt: skip


def _per_query(file: Path, n_rows: int) -> list[Floats]:
    if not file.is_file():
        return [np.empty(0)] * n_rows
    try:
        with np.load(file, allow_pickle=False) as values:
            return [values[f"row{i}"].astype(np.float64) for i in range(n_rows)]
    except Exception as error:  # zipfile raises a dozen unrelated classes for a damaged archive
        raise EvaluationError(f"{file} is damaged, or belongs to another result ({error!r})") from None
