"""The model a library carries: a copy in its folder, the one its codes were made with.

While a library changes its model both are there, `model` and `model.next`. The catalogue says by its digest which of
them counts, so the change is one step; the next writer removes the other.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from hashgrain import inside
from hashgrain.errors import BundleError, LibraryError, OtherModelError, Remedy, reason_of
from hashgrain.library import codes_only
from hashgrain.models import Bundle
from hashgrain.models.bundle import shipped_with
from hashgrain.models.description import MAP
from hashgrain.store import Problem, Store
from hashgrain.store.errors import to_rebuild

FOLDER, NEXT = "model", "model.next"


def reencode_remedy(library: Path, first: str = "") -> Remedy:
    """The remedy that takes another model; `first` is what to try before it."""
    words = f"{first} encode its pictures anew with another model, by rebuild_with"
    return Remedy(words.lstrip(), "encode_anew", library=library, first=f"{first} " if first else "")


def other_model(library: Path) -> OtherModelError:
    """That a library does not have the model it is to have."""
    return OtherModelError(f"{library} was built with another model", path=library, remedy=reencode_remedy(library))


def bundle_of_library(store: Store) -> Bundle:
    """The library's copy of its model, or the same model out of the package."""
    problem = f"{store.path / FOLDER} is another model"
    for folder in (FOLDER, NEXT):
        try:
            bundle = Bundle.read_inside(store.path, folder, whole=False)
        except BundleError as error:
            problem = reason_of(error) if folder == FOLDER else problem
        else:
            if bundle.code_digest == store.digest:
                return bundle
    outside, wrong = _codes_only(store)
    if outside is not None:
        return outside
    packaged = _packaged(store.digest)
    if packaged is None:
        words = f"put the bundle {store.digest[:8]}… back at {store.path / FOLDER}, or"
        remedy = reencode_remedy(store.path, words)
        raise LibraryError(
            f"{store.path}: its model cannot be used ({wrong or problem})", path=store.path, remedy=remedy
        )
    return packaged


def reads(bundle: Bundle) -> str:
    """What text a model can search by."""
    from hashgrain.models.text import KEY

    if bundle.text_tower is not None:
        return "sentences"
    return "nouns" if KEY in bundle.others else "no words"


def finish_change(store: Store) -> None:
    """Finish or undo a change of model that was cut short. `store` is open for writing."""
    if not store.folded or NEXT not in inside.names(store.path):
        return  # if the log was lost, the previous model is still needed
    with suppress(BundleError):
        bundle = Bundle.read_inside(store.path, NEXT)
        if bundle.code_digest == store.digest:
            bundle.write_inside(store.path, FOLDER)
    if _copy_is_sound(store):
        inside.remove_folder(store.path, NEXT)
        inside.sync_names(store.path)


def restore_copy(store: Store) -> None:
    """Restore the copy of the model if it is not sound and the package has the model."""
    packaged = None if _codes_only(store)[0] is not None else _packaged_for(store)
    if packaged is not None and not _copy_is_sound(store):
        packaged.write_inside(store.path, FOLDER)


def problems(store: Store) -> list[Problem]:
    """What is wrong with the copy of the model."""
    for folder in (FOLDER, NEXT):
        with suppress(BundleError):
            if Bundle.read_inside(store.path, folder).code_digest == store.digest:
                return []
    outside, wrong = _codes_only(store)
    if outside is not None:
        return []
    reason = f"is not the model of this library ({store.digest[:8]}…)"
    try:
        Bundle.read_inside(store.path)
    except BundleError as error:
        reason = wrong or reason_of(error)
    if _packaged_for(store) is not None:
        return [Problem(str(store.path / FOLDER), reason, to_rebuild(store.path))]
    return [Problem(str(store.path / FOLDER), reason, reencode_remedy(store.path, "put the bundle back, or"))]


def _codes_only(store: Store) -> tuple[Bundle | None, str]:
    """The bundle of a library that has codes only; or why it cannot be used."""
    try:
        bundle = codes_only.read(store.path)
    except BundleError as error:
        return None, reason_of(error)
    if bundle is None:
        return None, ""
    if bundle.code_digest != store.digest or bundle.grains != store.grains:
        return None, f"{store.path / FOLDER / codes_only.FILE} describes other codes than this library holds"
    return bundle, ""


def _copy_is_sound(store: Store) -> bool:
    with suppress(BundleError):
        return Bundle.read_inside(store.path).code_digest == store.digest
    return False


def renew(store: Store, bundle: Bundle) -> Bundle:
    """The library's model, replaced by the packaged one if that has the same codes and only it is calibrated for parts:
    the library's copy then is older than parts."""
    if MAP not in bundle.outputs or bundle.part_calibration or codes_only.OWN in bundle.others:
        return bundle
    packaged = _packaged_for(store)
    if packaged is None or not packaged.part_calibration:
        return bundle
    with suppress(OSError):  # a full disk: the copy stays as it was, and the library can still be changed
        packaged.write_inside(store.path, FOLDER)
        return packaged
    return bundle


def write_calibration(store: Store, bundle: Bundle) -> None:
    """Write the library's model with another calibration: the description alone, in one step, unless its copy of the
    model cannot be used."""
    if store.mode != "w":
        message = f"{store.path} is open for reading; open it with mode='w' to change it"
        raise LibraryError(message, path=store.path)
    if not codes_only.has_model(bundle):
        codes_only.write(bundle, store.path)
    elif _copy_is_sound(store):
        bundle.write_description_inside(store.path)
    else:
        bundle.write_inside(store.path)


def _packaged_for(store: Store) -> Bundle | None:
    """The model from the package. None if the library's copy has a text tower, which the package does not have."""
    with suppress(BundleError):
        if Bundle.read_inside(store.path, whole=False).text_tower is not None:
            return None
    return _packaged(store.digest)


def _packaged(digest: str) -> Bundle | None:
    with suppress(BundleError):
        return shipped_with(digest)
    return None


def undo_rename(library: Path) -> None:
    """A version before format 3 changed models by two renames: killed between them, it left the library aside."""
    aside = library.with_name(f".{library.name}.replaced")
    with suppress(OSError):
        if not library.exists() and inside.is_file(aside, "catalogue.sqlite"):
            aside.rename(library)  # back to where it was; nothing is written
