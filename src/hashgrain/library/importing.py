"""Importing a file of codes that another program made, into a new library or an existing one."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from hashgrain.codefiles import BitOrder, CodeFile, codes_of, load_codes, looks_unpacked
from hashgrain.codes import Grains
from hashgrain.errors import CodesError, LibraryError, OtherModelError, Remedy
from hashgrain.files import read_regular, sync_folder
from hashgrain.library.adding_codes import ImportReport, checked_paths
from hashgrain.library.codes_only import bit_order_of, codes_only, has_model
from hashgrain.library.metadata import check_meta
from hashgrain.library.opening import bundle_of
from hashgrain.models import Bundle
from hashgrain.models.bundle import shipped_with
from hashgrain.models.session import first_line
from hashgrain.store import CATALOGUE

if TYPE_CHECKING:
    from hashgrain.library.library import Library

MAX_LIST_BYTES = 1 << 30
UNPACKED = "uint8 is packed bits, eight a byte, but every byte is 0 or 1; save one value a bit as bool"


@dataclass(frozen=True)
class Import:
    """A file of codes, and what is known about them. `paths` is a file with a line per code, if the codes' file has no
    paths. `model` is the bundle that made the codes; if there is none, `made_by` names what made them."""

    codes: Path
    paths: Path | None = None
    model: str | Path | None = None
    made_by: str | None = None
    grains: Grains | None = None
    bit_order: BitOrder | None = None  # by default that of the library, or little
    replace: bool = False
    look: bool = True
    meta: Mapping[str, Any] | None = None


def import_file(library: Path, order: Import) -> tuple[ImportReport, int]:
    """Add a file of codes to a library, or create one from it. Everything is checked before anything is written, and a
    new library gets its name when it is complete. Returns the report, and how many items there are now."""
    from hashgrain.library.library import Library

    target = Path(os.path.abspath(library.expanduser()))
    model = None if order.model is None else bundle_of(order.model)
    how: dict[str, Any] = {"replace": order.replace, "look": order.look, "meta": order.meta}
    if (target / CATALOGUE).exists():
        with Library.open(target, "w") as opened:
            own = _same_grains(order, opened.grains, f"{target} has")
            file = read_codes(order.codes, own, order.bit_order or bit_order_of(opened.bundle))
            _refuse_other(order, model, file, opened)
            return opened.import_codes(file.codes, _paths(order, file), **how), len(opened)
    grains = order.grains if model is None else _same_grains(order, model.grains, f"model {model.name!r} has")
    file = read_codes(order.codes, grains, order.bit_order or "little")
    paths = _paths(order, file)
    checked_paths(paths, len(file.codes), order.look)
    check_meta(order.meta)
    aside = _place_beside(target)
    try:
        with Library.create(aside, _bundle(order, model, file)) as fresh:
            report = fresh.import_codes(file.codes, paths, **how)
        os.rename(aside, target)  # files.py replaces files in one step; this is a folder
        sync_folder(target.parent)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
    return report, report.codes


def read_codes(path: Path, grains: Grains | None, bit_order: BitOrder = "little") -> CodeFile:
    """The codes of a file; a .npy may hold packed bits, or one value per bit."""
    if path.suffix.lower() != ".npy":
        return load_codes(path, grains=grains)
    try:
        with path.open("rb") as opened:
            table: NDArray[Any] = np.asarray(np.lib.format.read_array(opened, allow_pickle=False))
        if looks_unpacked(table):
            raise CodesError(UNPACKED)
        return CodeFile(codes_of(table, grains, bit_order=bit_order))
    except OSError as error:
        raise CodesError(f"cannot read {path}: {error.strerror or error}", path=path) from None
    except CodesError as error:
        raise CodesError(f"{path}: {error}", path=path) from None
    except Exception as error:  # a header made to be wrong raises anything
        raise CodesError(f"{path} is not a .npy file of plain numbers ({first_line(error)})", path=path) from None


def read_paths(file: Path) -> list[str]:
    """One path per line, byte for byte. The last line end may be missing."""
    try:
        content = read_regular(file, MAX_LIST_BYTES)
    except OSError as error:
        raise LibraryError(f"cannot read the paths in {file} ({error.strerror or error})", path=file) from None
    lines = content.replace(b"\r\n", b"\n").removesuffix(b"\n").split(b"\n") if content else []
    return [os.fsdecode(line) for line in lines]


def _paths(order: Import, file: CodeFile) -> Sequence[str]:
    if order.paths is not None:
        return read_paths(order.paths)
    if file.paths is None:
        words = "say whose they are, in a file with a path a line, in the order of the codes"
        remedy = Remedy(words, "give_paths")
        raise LibraryError(f"{order.codes} holds codes and no paths", path=order.codes, remedy=remedy)
    return file.paths


def _same_grains(order: Import, grains: Grains, whose: str) -> Grains:
    if order.grains is not None and order.grains != grains:
        raise LibraryError(f"{whose} {grains}, not {order.grains}")
    return grains


def _bundle(order: Import, model: Bundle | None, file: CodeFile) -> Bundle:
    """The model for a new library, if it is at hand; otherwise a bundle without a graph."""
    if model is None and file.digest is not None:
        model = shipped_with(file.digest)
    if model is None:
        own = order.bit_order or "little"
        return codes_only(file.codes.grains, made_by=order.made_by, digest=file.digest, bit_order=own)
    if file.digest not in (None, model.code_digest):
        raise _of_two_models(order.codes, str(file.digest), f"model {model.name!r}", model.code_digest)
    return model


def _refuse_other(order: Import, model: Bundle | None, file: CodeFile, library: Library) -> None:
    """Refuse codes of another model. If the file does not name its model, the caller must."""
    own = library.bundle
    if file.digest is not None and file.digest != own.code_digest:
        raise _of_two_models(order.codes, file.digest, str(library.path), own.code_digest)
    if model is not None and model.code_digest != own.code_digest:
        raise _of_two_models(f"the model {model.name!r}", model.code_digest, str(library.path), own.code_digest)
    if order.made_by is not None and codes_only(own.grains, made_by=order.made_by).code_digest != own.code_digest:
        raise LibraryError(
            f"{library.path} has codes of {own.name!r}, not of {order.made_by!r}: they do not mix", path=library.path
        )
    if has_model(own) and file.digest is None and model is None:
        message = f"{order.codes} does not say which model made its codes, and {library.path} has those of {own.name!r}"
        remedy = Remedy("if they are of that model, name it; codes of two models do not mix", "name_model")
        raise OtherModelError(message, path=order.codes, remedy=remedy)


def _of_two_models(codes: object, digest: str, whose: str, own: str) -> LibraryError:
    message = f"{codes} is of the codes {digest[:8]}…, and {whose} of {own[:8]}…: codes of two models do not mix"
    return OtherModelError(message, path=codes, remedy="import them into a library of their own")


def _place_beside(target: Path) -> Path:
    if target.exists():
        try:
            target.rmdir()
        except OSError:
            raise LibraryError(f"{target} exists and is not a library; give a new name for one", path=target) from None
    target.parent.mkdir(parents=True, exist_ok=True)
    return target.with_name(f".{target.name}.importing-{secrets.token_hex(4)}")
