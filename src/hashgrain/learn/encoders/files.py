"""The files of a source: a folder, with a record of the SHA-256 of every file that is used."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hashgrain import files
from hashgrain.errors import TrainingError
from hashgrain.learn.backbones.weights import PICKLES

MAX_TEXT_BYTES = 64 << 20  # a tokenizer of 256,000 words has 34 MB
PIECE = 1 << 20
NOT_STATED = "not stated"  # of a license


class SourceFiles:
    """`home` tells where the files come from. It is published with the model, so it is not a local path."""

    def __init__(self, folder: Path, home: str = "where the files came from") -> None:
        self.folder = folder
        self.home = home
        self._taken: dict[str, str] = {}

    def names(self) -> list[str]:
        """Every file below the folder, as a path with /."""
        return sorted(path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file())

    def has(self, name: str) -> bool:
        return (self.folder / name).is_file()

    def read(self, name: str, cap: int = MAX_TEXT_BYTES) -> bytes:
        try:
            content = files.read_regular(self.folder / name, cap)
        except OSError as error:
            raise TrainingError(f"cannot read {self.folder / name} ({error.strerror})") from None
        self._taken[name] = hashlib.sha256(content).hexdigest()
        return content

    def json(self, name: str) -> dict[str, Any]:
        try:
            content = json.loads(self.read(name))
        except (ValueError, RecursionError):
            raise TrainingError(f"{self.folder / name} is not JSON; get it again") from None
        if not isinstance(content, dict):
            raise TrainingError(f"{self.folder / name} holds no JSON object; get it again")
        return content

    def path(self, name: str) -> Path:
        """The path of a file for another reader. The file is recorded."""
        whole = hashlib.sha256()
        try:
            with (self.folder / name).open("rb") as file:
                while piece := file.read(PIECE):
                    whole.update(piece)
        except OSError as error:
            raise TrainingError(f"cannot read {self.folder / name} ({error.strerror})") from None
        self._taken[name] = whole.hexdigest()
        return self.folder / name

    def taken(self) -> dict[str, str]:
        """The SHA-256 of every file that was used."""
        return dict(sorted(self._taken.items()))

    def license(self, facts: Mapping[str, Any] | None = None) -> str:
        """The license that the repository's card or configuration states."""
        stated = dict(self._card())
        name = stated.get("license") or (facts or {}).get("license")
        if name == "other":
            name = stated.get("license_name") or name
        if not isinstance(name, str) or not name:
            return f"{NOT_STATED}: look at {self.home}"
        return f"{name}, {stated['license_link']}" if "license_link" in stated else name

    def _card(self) -> Iterator[tuple[str, str]]:
        """The plain `key: value` lines of a model card's header, between two lines `---`."""
        if not self.has("README.md"):
            return
        try:
            lines = (
                files.read_regular(self.folder / "README.md", MAX_TEXT_BYTES).decode("utf-8", "replace").splitlines()
            )
        except OSError:
            return
        if not lines or lines[0].strip() != "---":
            return
        for line in lines[1:]:
            if line.strip() == "---":
                return
            key, colon, value = line.partition(":")
            if colon and key.startswith("license") and value.strip():
                yield key, value.strip().strip("\"'")


def only_pickles(names: list[str], where: str) -> TrainingError:
    """The error for a source without weights that are safe to open."""
    pickles = [name for name in names if Path(name).suffix.lower() in PICKLES]
    if pickles:
        return TrainingError(
            f"{where} has its weights only as a pickle ({pickles[0]}), which can run any code when it is opened;"
            " convert it where you trust it, with"
            " safetensors.torch.save_file(torch.load(FILE, weights_only=True), 'model.safetensors')"
        )
    return TrainingError(
        f"{where} has no known layout: a timm repository (config.json, model.safetensors), an open_clip one"
        " (open_clip_config.json, open_clip_model.safetensors), or an ONNX one (onnx/vision_model.onnx or"
        " onnx/model.onnx, preprocessor_config.json)"
    )
