"""A library without a model: codes that another program made. It is searched with its items and with codes.

`model/codes.json` describes the codes. It takes the place of the copy of a model.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hashgrain import files, inside
from hashgrain.codefiles import BitOrder
from hashgrain.codes import Grains
from hashgrain.errors import BundleError, CodesError, LibraryError, Remedy
from hashgrain.models import Bundle, Calibration, description
from hashgrain.models.bundle import FOLDER

FILE = "codes.json"
FORMAT = 1
BIT_ORDER = "bit_order"
OWN = "own_calibration"  # of a description: what a library was calibrated on, and its calibration before
MAX_BYTES = 1 << 16
DIGEST = re.compile("[0-9a-f]{64}")
UNNAMED = "codes of another program"


def codes_only(
    grains: Grains, *, made_by: str | None = None, digest: str | None = None, bit_order: BitOrder = "little"
) -> Bundle:
    """A bundle without a graph, for codes whose model is not here.

    Codes can be compared if their digests are equal. `digest` is that of a known model. Without it, codes `made_by` the
    same name share a digest, and codes without a name get one of their own. `bit_order` is that of the packed bits in
    the program's files; queries have it too.
    """
    if made_by is not None and not 1 <= len(made_by) <= description.MAX_NAME:
        raise LibraryError(
            f"the name of what made the codes has 1 to {description.MAX_NAME} characters, not {len(made_by)}"
        )
    if digest is not None and not DIGEST.fullmatch(digest):
        raise LibraryError(f"{digest[:80]!r} is no digest of a model; a SHA-256 has 64 digits, of 0 to 9 and a to f")
    name = made_by or (UNNAMED if digest is None else f"model {digest[:8]}…, which is not here")
    if digest is None:
        identity = ["codes of another program", made_by or secrets.token_hex(16), dict(grains)]
        digest = hashlib.sha256(json.dumps(identity).encode()).hexdigest()
    return _bundle(name, grains, digest, bit_order)


def bit_order_of(bundle: Bundle) -> BitOrder:
    return "big" if bundle.others.get(BIT_ORDER) == "big" else "little"


def has_model(bundle: Bundle) -> bool:
    return bool(bundle.onnx)


def need_model(bundle: Bundle, library: Path) -> None:
    """Refuse what needs a model, if there is none."""
    if not has_model(bundle):
        words = "ask with an item or with codes; or encode its pictures with a model, by rebuild_with"
        message = f"{library} has no model, only {bundle.name}: a picture cannot be encoded here"
        raise LibraryError(message, path=library, remedy=Remedy(words, "encode_with_model", library=library))


def write(bundle: Bundle, library: Path) -> None:
    """Write the library's copy of its model, or the description of its codes."""
    if has_model(bundle):
        bundle.write_inside(library)
        return
    described = {
        "format": FORMAT,
        "name": bundle.name,
        "grains": dict(bundle.grains),
        "code_digest": bundle.code_digest,
        BIT_ORDER: bit_order_of(bundle),
        **({"calibration": bundle.calibration_described()} if bundle.calibration else {}),
        **({OWN: bundle.others[OWN]} if OWN in bundle.others else {}),
    }
    inside.make_folder(library, FOLDER)
    inside.write(library, FOLDER, FILE, data=(json.dumps(described, indent=1) + "\n").encode())
    inside.sync_names(library, FOLDER)
    inside.sync_names(library)


def read(library: Path) -> Bundle | None:
    """The bundle without a graph, if the library describes its codes."""
    path = library / FOLDER / FILE
    try:
        described = description.parse(inside.read(library, FOLDER, FILE, cap=MAX_BYTES), path)
    except FileNotFoundError:
        return None
    except (inside.LinkError, files.NotRegularError, files.TooLargeError, OSError) as error:
        raise BundleError(f"cannot read {path} ({error.strerror or error})", path=path) from None
    return _checked(described, path)


def _checked(described: dict[str, Any], path: Path) -> Bundle:
    version, name, digest, grains = (described.get(key) for key in ("format", "name", "code_digest", "grains"))
    if not isinstance(version, int) or version > FORMAT:
        raise BundleError(
            f"{path} has format {version!r:.40}, this HashGrain reads up to {FORMAT}: upgrade hashgrain", path=path
        )
    named = isinstance(name, str) and 1 <= len(name) <= description.MAX_NAME
    if not named or not isinstance(digest, str) or not DIGEST.fullmatch(digest):
        raise BundleError(f"{path} does not say what made the codes", path=path)
    try:
        order: BitOrder = "big" if described.get(BIT_ORDER) == "big" else "little"
        bundle = _bundle(str(name), Grains(grains), digest, order)
    except (CodesError, TypeError, ValueError) as error:
        raise BundleError(f"{path} names no grains ({str(error)[:100]})", path=path) from None
    calibration = description.read_calibration(described.get("calibration", {}), bundle.grains, path)
    own = {OWN: described[OWN]} if OWN in described else {}
    return calibrated(bundle, calibration, {**bundle.others, **own})


def calibrated(bundle: Bundle, calibration: Mapping[str, Calibration], others: Mapping[str, Any]) -> Bundle:
    """The bundle with another calibration, which changes no codes."""
    changed = dataclasses.replace(bundle, calibration=calibration, others=others)
    changed.__dict__["code_digest"] = bundle.code_digest  # of codes alone, there is no graph to compute it from
    return changed


def _bundle(name: str, grains: Grains, digest: str, bit_order: BitOrder) -> Bundle:
    bundle = Bundle(name, b"", grains, (0, 0), others={BIT_ORDER: bit_order})
    bundle.__dict__["code_digest"] = digest  # there is no graph to compute it from
    return bundle
