"""The bundle: a trained model as data. `model.onnx` computes, `model.json` says what it means; `text.onnx` and
`tokenizer.json` stand beside them where the model reads phrases by a network of its own.

Nothing in a bundle is code we run: the graph is ONNX, loaded from memory and checked before (graph_check.py); the rest
is JSON. Both are capped in size and checked against the digests before use.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from hashgrain import files, inside
from hashgrain.codes import Grains
from hashgrain.errors import BundleError, BundleMissingError
from hashgrain.models import description
from hashgrain.models.assembly import assembled, is_assembled
from hashgrain.models.bundle_files import (
    DESCRIPTION,
    GRAPH,
    TEXT,
    TOKENIZER,
    ReadFile,
    altered_error,
    cap_of,
    check_caps,
    digests_of,
    read_described,
    read_file,
    write_files,
)
from hashgrain.models.description import FORMAT, KIND, MAP, NEEDED, Calibration, PartGrid, Threshold
from hashgrain.models.graph_check import IDS, check_graph, outputs_of
from hashgrain.models.tower import KEY as TOWER
from hashgrain.models.tower import TextTower
from hashgrain.types import Fit, PathLike

SHIPPED = Path(__file__).parent.parent / "models"
DEFAULT = "photo"  # the model that "default" names, unless the environment names another
CHOICE = "HASHGRAIN_MODEL"
FOLDER = "model"  # of a library, where its copy stands
ATTEMPTS = 10  # to read a bundle that others are being written over


@dataclass(frozen=True)
class Bundle:
    name: str
    onnx: bytes
    grains: Grains
    size: tuple[int, int]  # width, height of the pictures the model takes
    words: Mapping[str, Threshold] = field(default_factory=dict)  # of bundles without `calibration`
    labels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # grain -> label -> prototype code, hex
    training: Mapping[str, Any] = field(default_factory=dict)
    fit: Fit | None = None  # how a picture is fitted to the input; None: squashed, as before there was a choice
    others: Mapping[str, Any] = field(default_factory=dict)  # keys of model.json that this version has no use for
    calibration: Mapping[str, Calibration] = field(default_factory=dict)  # by grain
    text_tower: TextTower | None = None  # reads phrases, if the model has more than a table of classes
    parts: PartGrid | None = None  # of every picture, besides the whole
    part_calibration: Mapping[str, Calibration] = field(default_factory=dict)  # by grain, of parts
    license: str = ""  # under which the model may be used, best as an SPDX expression
    provenance: str = ""  # where its weights come from, in a sentence

    @cached_property
    def onnx_sha256(self) -> str:
        return hashlib.sha256(self.onnx).hexdigest()

    @cached_property
    def code_digest(self) -> str:
        """What codes are bound to: equal digests mean equal codes for equal pictures."""
        return description.code_digest(self.onnx_sha256, self.grains, self.size, self.fit)

    @cached_property
    def capped_part_calibration(self) -> Mapping[str, Calibration]:
        """`part_calibration`, by grain, with each probability capped by that for a whole at the same distance: an item
        has many parts, so one of them is near more easily. Exact search for both at once relies on this."""
        return {
            grain: replace(
                part, probabilities=tuple(map(min, self.calibration[grain].probabilities, part.probabilities))
            )
            for grain, part in self.part_calibration.items()
            if grain in self.calibration
        }

    @property
    def digest(self) -> str:
        """Another name for `code_digest`."""
        return self.code_digest

    @property
    def fitted(self) -> Fit:
        """How a picture is fitted to the input."""
        return self.fit or "squash"

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """The outputs of its graph that are known here: `outputs`, `features`, `map`."""
        there = outputs_of(self.onnx) if self.onnx else []
        return tuple(name for name in (*NEEDED, MAP) if name in there)

    @property
    def bundle_digest(self) -> str:
        """Over everything the bundle says, words, labels and training included."""
        return str(self.described()["bundle_digest"])

    def described(self) -> dict[str, Any]:
        """What model.json holds."""
        facts = {
            "format": FORMAT,
            "name": self.name,
            "onnx_sha256": self.onnx_sha256,
            "code_digest": self.code_digest,
            "grains": dict(self.grains),
            "input": {"kind": KIND, "width": self.size[0], "height": self.size[1]},
            **({} if self.fit is None else {"fit": self.fit}),
            **({} if self.parts is None else {"parts": self.parts.described()}),
            "outputs": self.outputs,
            "words": {word: {"grain": t.grain, "distance": t.distance} for word, t in self.words.items()},
            **({"calibration": self.calibration_described()} if self.calibration else {}),
            "labels": self.labels,
            "training": self.training,
            **({TOWER: self.text_tower.described()} if self.text_tower else {}),
            **({"license": self.license} if self.license else {}),
            **({"provenance": self.provenance} if self.provenance else {}),
            **self.others,
        }
        whole: dict[str, Any] = description.plain(facts)
        return {**whole, "bundle_digest": description.bundle_digest(whole)}

    def calibration_described(self) -> dict[str, Any]:
        parts = {grain: {"part": each.described()} for grain, each in self.part_calibration.items()}
        return {grain: {"whole": each.described(), **parts.get(grain, {})} for grain, each in self.calibration.items()}

    def write(self, folder: str | Path) -> Path:
        """Write its files; they are on the disk when it returns. After a crash the folder holds either this bundle or
        the previous one, complete."""
        contents = _contents(self)
        target = Path(folder)
        made = not target.exists()
        target.mkdir(parents=True, exist_ok=True)
        try:
            write_files(target, (), contents)
        except OSError:
            if made:
                with suppress(OSError):
                    target.rmdir()
            raise
        if made:
            files.sync_folder(target.parent)
        return target

    def write_inside(self, library: str | Path, folder: str = FOLDER) -> None:
        """The same into a folder of a library, where no link is followed."""
        contents = _contents(self)
        inside.make_folder(library, folder)
        write_files(Path(library), (folder,), contents)
        inside.sync_names(library)

    def write_description_inside(self, library: str | Path, folder: str = FOLDER) -> None:
        """Replace the description in a folder of a library, in one step, where the other files stay as they are."""
        inside.write(library, folder, DESCRIPTION, data=_description(self))

    @classmethod
    def read(cls, bundle: PathLike = "default") -> Bundle:
        """A folder with model.onnx and model.json, or a model of the package by its name: "photo", "small".

        "default" is "photo", or what HASHGRAIN_MODEL names.
        """
        if (shipped := shipped_folder(bundle)) is not None:
            return _read_shipped(shipped)
        folder = Path(bundle).expanduser()
        if not os.path.isdir(folder):  # which, unlike Path.is_dir, takes any name there may be
            raise BundleMissingError(
                f"no model bundle at {folder}: a bundle is a folder with model.onnx and model.json; the models of the"
                f" package are {', '.join(shipped_names())}",
                path=folder,
            )
        return _read(folder, lambda name, cap: files.read_regular(folder / name, cap))

    @classmethod
    def read_inside(cls, library: str | Path, folder: str = FOLDER, *, whole: bool = True) -> Bundle:
        """The copy in a folder of a library, which may come from a stranger: no link is followed. Unless `whole`, a
        text tower is read, and checked, when it is asked for."""
        read: ReadFile = lambda name, cap: inside.read(library, folder, name, cap=cap)  # noqa: E731
        return _read(Path(library) / folder, read, whole)


def shipped_names() -> list[str]:
    """The models of the package, the default one first."""
    names = sorted(path.parent.name for path in SHIPPED.glob(f"*/{DESCRIPTION}"))
    return sorted(names, key=lambda name: name != DEFAULT)


def shipped_folder(name: PathLike) -> Path | None:
    """The folder of a model of the package; None if this is not the name of one."""
    if name == "default":
        name = os.environ.get(CHOICE) or DEFAULT
        if name not in shipped_names():
            raise BundleError(f"{CHOICE} is {name!r}; the models of the package are {', '.join(shipped_names())}")
    return SHIPPED / name if isinstance(name, str) and name in shipped_names() else None


def shipped_with(code_digest: str) -> Bundle | None:
    """The model of the package that makes these codes, if one does."""
    for name in shipped_names():
        path = SHIPPED / name / DESCRIPTION
        with suppress(OSError, BundleError):
            if description.parse(path.read_bytes(), path).get("code_digest") == code_digest:
                return _read_shipped(path.parent)
    return None


def check_bundle(bundle: Bundle, *, text: bool = True) -> None:
    """Refuse graphs that do more than compute on pixels, or on tokens."""
    if not is_shipped(bundle):
        check_graph(bundle.onnx, f"the graph of model {bundle.name!r}", bits=bundle.grains.bits)
    if text and bundle.text_tower is not None:
        check_text_graph(bundle.name, bundle.text_tower, bundle.grains.bits)


def check_text_graph(model: str, tower: TextTower, bits: int) -> None:
    check_graph(tower.onnx, f"the text graph of model {model!r}", bits=bits, takes=IDS)


def is_shipped(bundle: Bundle) -> bool:
    """Whether its graph is one of those in the package, which need no trial."""
    for path in sorted(SHIPPED.glob(f"*/{DESCRIPTION}")):
        with suppress(OSError, BundleError):
            if description.parse(path.read_bytes(), path).get("onnx_sha256") == bundle.onnx_sha256:
                return True
    return False


def _read_shipped(folder: Path) -> Bundle:
    """A model of the package. Its graph is a file of its own, or put together from weights that pip brought."""

    def read(name: str, cap: int) -> bytes:
        if name == GRAPH and is_assembled(folder):
            path = folder / DESCRIPTION
            return assembled(folder, str(description.parse(path.read_bytes(), path).get("onnx_sha256")))
        return files.read_regular(folder / name, cap)

    return _read(folder, read)


def _read(folder: Path, read: ReadFile, whole: bool = True) -> Bundle:
    """Read again if the description changed meanwhile: another bundle may be being written. Read once more if it did
    not: the graph may have got its name between two reads."""
    text, same = read_file(folder, DESCRIPTION, cap_of(DESCRIPTION), read), 0
    for _ in range(ATTEMPTS):
        try:
            return _parsed(folder, text, read, whole)
        except BundleError:
            again = read_file(folder, DESCRIPTION, cap_of(DESCRIPTION), read)
            same = same + 1 if again == text else 0
            if same > 1:
                raise
            text = again
    return _parsed(folder, text, read, whole)


def _parsed(folder: Path, text: bytes, read: ReadFile, whole: bool) -> Bundle:
    described = description.parse(text, folder / DESCRIPTION)
    facts = description.checked(described, folder / DESCRIPTION)
    digests = digests_of(described)
    bundle = Bundle(
        name=facts.name,
        onnx=read_described(folder, read, GRAPH, digests[GRAPH]),
        grains=facts.grains,
        size=facts.size,
        words=facts.words,
        calibration=facts.calibration,
        labels=facts.labels,
        training=facts.training,
        fit=facts.fit,
        parts=facts.parts,
        part_calibration=facts.part_calibration,
        license=facts.license,
        provenance=facts.provenance,
        others=facts.others,
        text_tower=None if facts.tower is None else _tower(folder, read, facts.tower, whole),
    )
    bundle.__dict__["onnx_sha256"] = described.get("onnx_sha256")  # meant has compared them
    old = described["format"] == 1
    expected = {"digest" if old else "code_digest": bundle.code_digest}
    if not old or "bundle_digest" in described:
        expected["bundle_digest"] = description.bundle_digest(described)
    if any(described.get(key) != digest for key, digest in expected.items()):
        raise altered_error(folder)
    # Whoever reads a bundle may hand its graph to other programs than the encoder, such as those that make it smaller.
    check_bundle(bundle, text=whole)
    if "outputs" in described and not is_shipped(bundle):
        _check_outputs(bundle, facts.outputs)
    return bundle


def _check_outputs(bundle: Bundle, named: Sequence[str]) -> None:
    """Check that the graph gives what the description names. Nothing else is used."""
    if absent := sorted(set(named) - outputs_of(bundle.onnx)):
        raise BundleError(f"the graph of model {bundle.name!r} gives no {absent[0]!r}, which {DESCRIPTION} names")


def _tower(folder: Path, read: ReadFile, tower: description.TowerDescription, whole: bool) -> TextTower:
    def load(name: str) -> bytes:
        content = read_described(
            folder, read, {"onnx": TEXT, "tokenizer": TOKENIZER}[name], getattr(tower, f"{name}_sha256")
        )
        if len(content) != getattr(tower, f"{name}_bytes"):
            raise altered_error(folder)
        return content

    def load_later(name: str) -> bytes:
        try:
            return load(name)
        except BundleError as error:
            raise BundleError(f"{error}; if the model of the library was just changed, open it again") from None

    if whole:
        return TextTower(load("onnx"), load("tokenizer"), tower.length, tower.pad, tower.lower)
    return TextTower.stored(asdict(tower), load_later)


def _description(bundle: Bundle) -> bytes:
    return (json.dumps(bundle.described(), indent=1, allow_nan=False) + "\n").encode()


def _contents(bundle: Bundle) -> dict[str, bytes]:
    """Its files, the description last; an error where they could not be read again."""
    contents = {GRAPH: bundle.onnx}
    if bundle.text_tower is not None:
        contents |= {TEXT: bundle.text_tower.onnx, TOKENIZER: bundle.text_tower.tokenizer}
    contents[DESCRIPTION] = _description(bundle)
    check_caps(bundle.name, bundle.size, {name: len(content) for name, content in contents.items()})
    return contents
