"""Reads the network that a source such as `timm:ARCH.TAG` names."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from hashgrain.errors import HashgrainError, TrainingError
from hashgrain.learn.encoders import onnx_source
from hashgrain.learn.encoders.files import SourceFiles, only_pickles
from hashgrain.learn.encoders.hub import COMMIT, network_allowed, repository, repository_files
from hashgrain.learn.encoders.layouts import ONNX, OPEN_CLIP, TIMM, layout_of
from hashgrain.learn.encoders.network import Network
from hashgrain.learn.encoders.preprocessing import Wishes
from hashgrain.models.description import MAX_INPUT_EDGE
from hashgrain.models.session import first_line
from hashgrain.types import Log

KINDS = "timm:ARCH.TAG, hf:OWNER/REPO@SHA, openclip:ARCH/TAG, onnx:FILE, keras:FILE, or folder:PATH"
NO_WISHES = Wishes()
WISHED = ("onnx", "keras")  # sources that may not state their preprocessing
HERE = ("onnx", "keras", "folder")  # local sources: nothing is downloaded
# Descriptions that may refer to code in the repository.
MAY_NAME_CODE = ("config.json", "preprocessor_config.json", "tokenizer_config.json")


def network_of(source: str, size: int | None, download: bool, log: Log, wishes: Wishes = NO_WISHES) -> Network:
    """The network that SOURCE names, with its lock. `wishes` are for files that do not state their preprocessing."""
    kind, _, wanted = source.partition(":")
    readers: dict[str, Callable[[str, int | None, bool, Log], Network]] = {
        "timm": _timm,
        "hf": _repository,
        "openclip": _open_clip,
        "onnx": partial(_file, wishes=wishes),
        "folder": _folder,
        "keras": partial(_keras, wishes=wishes),
    }
    if kind not in readers or not wanted:
        raise TrainingError(f"source {source}: it takes {KINDS}")
    if size is not None and not 1 <= size <= MAX_INPUT_EDGE:
        raise TrainingError(f"size {size}: it takes 1 to {MAX_INPUT_EDGE}")
    if wishes != NO_WISHES and kind not in WISHED:
        raise TrainingError(
            f"mean=, std= and layout= are for onnx:FILE and keras:FILE; {source} states its own preprocessing"
        )
    if wishes.layer and kind != "keras":
        raise TrainingError(f"layer={wishes.layer} is for keras:FILE; in {source} name the output 'features'")
    try:
        with network_allowed(download and kind not in HERE):
            network = readers[kind](wanted, size, download, log)
    except HashgrainError:
        raise
    except Exception as error:  # odd values in descriptions raise anything in any library
        reason = f"{type(error).__name__}: {first_line(error)}"
        raise TrainingError(f"{source} cannot be read as a network ({reason}); get it again, or take another") from None
    return replace(network, source={"source": source, **network.source})


def _path(wanted: str) -> Path:
    try:
        return Path(wanted).expanduser()
    except RuntimeError:
        raise TrainingError(f"{wanted}: no such user, or one without a home; write the whole path") from None


def _file(wanted: str, size: int | None, download: bool, log: Log, wishes: Wishes) -> Network:
    return onnx_source.from_file(_path(wanted), size, wishes)


def _keras(wanted: str, size: int | None, download: bool, log: Log, wishes: Wishes) -> Network:
    from hashgrain.learn.encoders.keras_source import from_keras

    return from_keras(_path(wanted), size, wishes)


def _folder(wanted: str, size: int | None, download: bool, log: Log) -> Network:
    folder = _path(wanted)
    if not folder.is_dir():
        raise TrainingError(f"no folder {folder}; folder:PATH takes a repository's files in a folder")
    return _laid_out(SourceFiles(folder), f"folder {folder}", size)


def _repository(wanted: str, size: int | None, download: bool, log: Log) -> Network:
    name, commit = repository(wanted)
    files, _ = repository_files(name, commit, download, log)
    return _laid_out(files, name, size)


def _laid_out(files: SourceFiles, where: str, size: int | None) -> Network:
    """Read a repository in one of the known layouts."""
    layout = layout_of(files.names())
    if layout is None:
        raise only_pickles(files.names(), where)
    refuse_code(files, where)
    if layout == OPEN_CLIP:
        from hashgrain.learn.encoders.openclip_source import from_open_clip

        return from_open_clip(files, where, size)
    if layout == ONNX:
        from hashgrain.learn.encoders.onnx_repository import from_repository

        return from_repository(files, where, size)
    assert layout == TIMM
    from hashgrain.learn.encoders.timm_source import from_timm

    return from_timm(files, where, size)


def refuse_code(files: SourceFiles, where: str) -> None:
    """Refuse a repository whose description refers to its own code, since the network needs that code."""
    for name in MAY_NAME_CODE:
        if files.has(name) and "auto_map" in files.json(name):
            raise TrainingError(
                f"{where} needs code of its own (auto_map in {name}), which is not run; use a network that a library"
                " knows, or export this one to ONNX and use onnx:FILE"
            )


def _timm(wanted: str, size: int | None, download: bool, log: Log) -> Network:
    import timm

    from hashgrain.learn.backbones.zoo import unknown_name
    from hashgrain.learn.encoders.timm_source import from_timm

    if not timm.is_model(wanted):
        raise unknown_name("timm", wanted, timm.list_models())
    try:
        about = timm.get_pretrained_cfg(wanted)
    except RuntimeError:
        raise unknown_name("timm", wanted, timm.list_pretrained(wanted.partition(".")[0] + ".*")) from None
    if about is None or not about.hf_hub_id:
        raise TrainingError(
            f"timm:{wanted} is published without weights on Hugging Face; name another, or take a folder"
        )
    files, commit = repository_files(str(about.hf_hub_id), "main", download, log)
    return _at(from_timm(files, f"timm:{wanted}", size, wanted), str(about.hf_hub_id), commit)


def _open_clip(wanted: str, size: int | None, download: bool, log: Log) -> Network:
    from hashgrain.learn.backbones.zoo import unknown_name
    from hashgrain.learn.encoders.openclip_source import Described, from_open_clip, need_open_clip

    need_open_clip()
    import open_clip

    architecture, slash, tag = wanted.partition("/")
    if not slash:
        raise TrainingError(f"openclip:{wanted}: it takes openclip:ARCH/TAG")
    if architecture not in open_clip.list_models():
        raise unknown_name("open_clip", architecture, open_clip.list_models())
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if tag not in tags:
        raise unknown_name(f"open_clip's {architecture}", tag, tags)
    about: dict[str, Any] = open_clip.get_pretrained_cfg(architecture, tag)
    owner_and_name = "/".join(str(about.get("hf_hub", "")).split("/")[:2])
    if "/" not in owner_and_name:
        raise TrainingError(f"openclip:{wanted} is published as a pickle only; name another, or take a folder")
    files, commit = repository_files(owner_and_name, "main", download, log)
    known = Described(open_clip.get_model_config(architecture), about)
    return _at(from_open_clip(files, f"openclip:{wanted}", size, known), owner_and_name, commit)


def _at(network: Network, name: str, commit: str) -> Network:
    """Add the repository and its commit to the lock, where SOURCE does not name them."""
    assert COMMIT.fullmatch(commit)
    return replace(network, source={**network.source, "repository": f"{name}@{commit}"})
