"""Repositories of Hugging Face: from its local cache, or downloaded if the user asks for it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hashgrain.errors import Remedy, TrainingError
from hashgrain.files import write_atomically
from hashgrain.learn.encoders.files import SourceFiles, only_pickles
from hashgrain.learn.encoders.layouts import ONNX, TEXT, VISION, layout_of, wanted
from hashgrain.models.session import first_line
from hashgrain.types import Log

COMMIT = re.compile(r"[0-9a-f]{40}")
REPOSITORY = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
CONFIG = "config.json"
SWITCH = "HF_HUB_OFFLINE"
FETCH = Remedy(
    "fetch it with download=True, or bring the repository as a folder and take folder:PATH", "fetch_repository"
)


@contextmanager
def network_allowed(download: bool) -> Iterator[None]:
    """Keep third-party libraries off the network, unless the user asks for a download."""
    before = os.environ.get(SWITCH)
    if not download:
        os.environ[SWITCH] = "1"  # for later imports; for modules that are imported already:
    from huggingface_hub import constants

    was = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = was or not download
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = was
        if before is None:
            os.environ.pop(SWITCH, None)
        else:
            os.environ[SWITCH] = before


def repository(wanted_one: str) -> tuple[str, str]:
    """Split OWNER/REPO@SHA into its two parts."""
    name, _, commit = wanted_one.partition("@")
    if not REPOSITORY.fullmatch(name):
        raise TrainingError(f"hf:{wanted_one}: it takes hf:OWNER/REPO@SHA")
    if not COMMIT.fullmatch(commit):
        raise TrainingError(
            f"hf:{wanted_one} names no commit, and a branch may be another network tomorrow: add @SHA, the 40 hex"
            f" digits at the top of https://huggingface.co/{name}/commits/main"
        )
    return name, commit


def repository_files(name: str, revision: str, download: bool, log: Log) -> tuple[SourceFiles, str]:
    """The local files of a repository, and their commit. `revision` is a commit, or `main`."""
    commit = _fetched(name, revision, log) if download else _known(name, revision)
    folder = _cache(name) / "snapshots" / commit
    if not folder.is_dir():
        raise TrainingError(
            f"{name} at {commit[:12]} is not in the Hugging Face cache of this machine ({_cache(name)})", remedy=FETCH
        )
    if not download:
        refuse_half(SourceFiles(folder), name)
    return SourceFiles(folder, f"https://huggingface.co/{name}"), commit


def refuse_half(files: SourceFiles, name: str) -> None:
    """Refuse a pair whose text half is missing, as after an interrupted download."""
    half = layout_of(files.names()) == ONNX and files.has(VISION[0]) and not files.has(TEXT)
    pictures = files.folder / VISION[0]
    if half and files.has(CONFIG) and "text_config" in files.json(CONFIG):
        raise TrainingError(
            f"{name} is a pair, and its text half ({TEXT}) is not in the Hugging Face cache of this machine",
            remedy=Remedy(
                f"fetch it with download=True; for pictures alone, take onnx:{pictures}",
                "fetch_text",
                pictures=pictures,
            ),
        )


def _cache(name: str) -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE) / ("models--" + name.replace("/", "--"))


def _known(name: str, revision: str) -> str:
    """The commit of a branch at its last download."""
    if COMMIT.fullmatch(revision):
        return revision
    try:
        commit = (_cache(name) / "refs" / revision).read_text().strip()
    except OSError:
        commit = ""
    if not COMMIT.fullmatch(commit):
        raise TrainingError(f"{name} is not in the Hugging Face cache of this machine ({_cache(name)})", remedy=FETCH)
    return commit


def _note(name: str, revision: str, commit: str) -> None:
    """Record the commit of a branch where huggingface_hub does; it does so itself only when it resolves a branch."""
    refs = _cache(name) / "refs"
    refs.mkdir(parents=True, exist_ok=True)
    write_atomically(refs / revision, commit.encode())


def _fetched(name: str, revision: str, log: Log) -> str:
    """Download the needed files. Returns the commit."""
    import huggingface_hub as hub
    from huggingface_hub import errors

    try:
        about = hub.HfApi().model_info(name, revision=revision)
        commit, names = str(about.sha), [each.rfilename for each in about.siblings or ()]
        if layout_of(names) is None:
            raise only_pickles(names, name)
        for file in wanted(names):
            log(f"fetching {name}: {file}")
            hub.hf_hub_download(name, file, revision=commit)
        if not COMMIT.fullmatch(revision):
            _note(name, revision, commit)
    except errors.GatedRepoError:
        raise TrainingError(
            f"{name} is gated: accept its license at https://huggingface.co/{name}, log in with `hf auth login`, and"
            " run this again"
        ) from None
    except errors.RepositoryNotFoundError:
        raise TrainingError(
            f"Hugging Face has no repository {name}, or it is private: check its name, or log in"
        ) from None
    except errors.RevisionNotFoundError:
        raise TrainingError(
            f"{name} has no commit {revision}; see https://huggingface.co/{name}/commits/main"
        ) from None
    except TrainingError:
        raise
    except Exception as error:  # each way of failing on a network raises its own
        raise TrainingError(
            f"{name} could not be fetched ({type(error).__name__}: {first_line(error)}); where there is no network,"
            " bring the repository as a folder and take folder:PATH"
        ) from None
    return commit
