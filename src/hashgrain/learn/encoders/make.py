"""Make a model from any network: compute its features of the user's pictures, distill a head, write the bundle."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from hashgrain import __version__
from hashgrain.codes import Grains
from hashgrain.errors import CodesError, Remedy, TrainingError
from hashgrain.graphs.heads import append_head
from hashgrain.learn.card import named_source
from hashgrain.learn.data.choices import FITTED
from hashgrain.learn.data.kept_features import KeptFeatures
from hashgrain.learn.encoders.files import NOT_STATED
from hashgrain.learn.encoders.fitting import Head, Sets, calibrated, features_of, fit, least_pictures, more_pictures
from hashgrain.learn.encoders.network import Network
from hashgrain.learn.encoders.pictures import Shots, shots_of
from hashgrain.learn.encoders.preprocessing import Wishes
from hashgrain.learn.encoders.sources import network_of
from hashgrain.learn.encoders.text import text_side
from hashgrain.media import open_picture
from hashgrain.models import Bundle, Encoder
from hashgrain.models.bundle import shipped_names
from hashgrain.models.bundle_files import DESCRIPTION, GRAPH, TEXT, TOKENIZER, check_caps
from hashgrain.models.description import MAX_INPUT_EDGE, MAX_LICENSE, named
from hashgrain.models.seen import Seen
from hashgrain.models.tokens import require_tokenizers
from hashgrain.types import Fit, Log

BITS = (32, 64, 128)
NAMES = {1: ("look",), 2: ("thing", "look"), 3: ("kind", "thing", "look")}
LIMIT = 5_000
CHUNK = 256  # pictures whose features may be lost when a run stops
CHECKED = 8  # pictures on which graph and head are compared
KEY = "source"  # of model.json
ROUNDING = 1e-3


@dataclass(frozen=True)
class Order:
    """What to make, and from what."""

    name: str
    source: str
    pictures: Path
    out: Path
    run: Path
    bits: tuple[int, ...] = BITS
    size: int | None = None
    download: bool = False
    seed: int = 0
    limit: int = LIMIT
    fit: Fit = "squash"  # how pictures are brought to the size
    settings: tuple[str, ...] = ()  # mean=, std=, layout= of a file that does not state its preprocessing


def make_model(order: Order, log: Log) -> dict[str, Any]:
    """Make and write the bundle; returns a summary. The run's folder caches features, so a stopped run resumes."""
    grains = grains_of(order.bits)
    check_order(order)
    wishes = Wishes.of(order.settings)
    shots = shots_of(order.pictures, order.limit)
    if len(shots.pictures) < least_pictures(grains.bits):
        raise TrainingError(
            f"{len(shots.pictures):,} different pictures in {order.pictures} are too few for {grains.bits} bits",
            remedy=more_pictures(grains.bits),
        )
    log(f"reading {order.source}")
    network = network_of(order.source, order.size, order.download, log, wishes)
    check_network(order.name, network)
    log(f"{network.source['feature']}, {network.width} numbers wide; license: {network.source['license']}")
    if network.text is not None:
        require_tokenizers()
    cache = KeptFeatures(
        order.run,
        network.graph,
        (network.size, network.size),
        fit=order.fit,
        log=log,
        kept_as=np.float32,
        skip=True,
        chunk=CHUNK,
    )
    sets = features_of(shots, cache, grains.bits)
    for name in sets.refused[:5]:
        log(f"cannot be opened: {name}")
    log(f"fitting the head on {len(sets.fitted):,} pictures")
    head = fit(sets, grains, order.seed)
    bundle = bundled(order, network, head, grains, sets, log)
    check_graph_gives(bundle, head, shots)
    bundle.write(order.out)
    return summary(order, bundle, sets)


def check_network(name: str, network: Network) -> None:
    """Refuse a network that no bundle can hold, before hours of computing."""
    lengths = {GRAPH: len(network.graph)}
    if network.text is not None:
        lengths |= {TEXT: len(network.text.graph), TOKENIZER: len(network.text.tokenizer)}
    check_caps(name, (network.size, network.size), lengths)


def grains_of(bits: tuple[int, ...]) -> Grains:
    if len(bits) not in NAMES or list(bits) != sorted(set(bits)):
        raise TrainingError(f"bits {','.join(map(str, bits))}: give one to three increasing widths, such as 32,64,128")
    try:
        return Grains(dict(zip(NAMES[len(bits)], bits, strict=True)))
    except CodesError as error:
        raise TrainingError(f"bits {','.join(map(str, bits))}: {error}") from None


def check_order(order: Order) -> None:
    """Refuse invalid orders before anything is read or computed."""
    if not re.fullmatch(r"[\w.-]{1,100}", order.name):
        raise TrainingError(f"{order.name!r} cannot be a model's name: it takes letters, digits, '.', '-' and '_'")
    if order.name in (*shipped_names(), "default"):
        raise TrainingError(f"{order.name!r} is a model of the package; give yours another name")
    if order.out.exists() and not (order.out.is_dir() and _is_bundle_or_empty(order.out)):
        raise TrainingError(
            f"{order.out} is there and is no model",
            path=order.out,
            remedy=Remedy("choose another place for the model", "other_place"),
        )
    if order.size is not None and not 1 <= order.size <= MAX_INPUT_EDGE:
        raise TrainingError(f"size {order.size}: it takes 1 to {MAX_INPUT_EDGE:,} pixels")
    if order.fit not in get_args(Fit):
        raise TrainingError(f"fit is {order.fit!r}; it can be {', '.join(get_args(Fit))}")
    if order.limit < 1:
        raise TrainingError(f"limit {order.limit}: it takes 1 picture or more")


def _is_bundle_or_empty(folder: Path) -> bool:
    return (folder / DESCRIPTION).is_file() or not any(folder.iterdir())


def bundled(order: Order, network: Network, head: Head, grains: Grains, sets: Sets, log: Log) -> Bundle:
    tower = None
    if network.text is not None:
        log("putting the head behind the text half")
        tower = text_side(network.text, head, order.name)
    source = dict(network.source)
    if order.fit != "squash":
        source["preprocessing"] = {**source["preprocessing"], "resized": f"{FITTED[order.fit]} the size, bilinear"}
    return Bundle(
        order.name,
        append_head(network.graph, head.projection, unit=True),
        grains,
        (network.size, network.size),
        calibration=calibrated(head, sets, grains),
        training={
            "recipe": {"name": "model make", "seed": order.seed},
            "hashgrain": __version__,
            "data": {"pictures": len(sets.contents), "labels": "none"},
            "seen": Seen.of(sets.contents).described(),
        },
        others={KEY: source},
        text_tower=tower,
        fit=named(order.fit),
        license="" if str(source["license"]).startswith(NOT_STATED) else str(source["license"])[:MAX_LICENSE],
        provenance=f"the network {named_source(order.source)}, frozen; a linear head of HashGrain's",
    )


def check_graph_gives(bundle: Bundle, head: Head, shots: Shots) -> None:
    """Check that the graph's outputs are the head's, up to rounding."""
    outputs, features = Encoder(bundle).outputs_and_features(_few(shots, bundle))
    expected = head.outputs(features)
    apart = float(np.abs(outputs - expected).max())
    if not apart <= ROUNDING * max(1.0, float(np.abs(expected).mean())):
        raise TrainingError(f"the graph of {bundle.name!r} does not compute what its head does: apart by {apart:.3g}")


def _few(shots: Shots, bundle: Bundle) -> NDArray[np.uint8]:
    from hashgrain.errors import ImageError

    opened = []
    for shot in shots.pictures:
        try:
            opened.append(open_picture(shot.read(), size=bundle.size, fit=bundle.fitted).pixels)
        except ImageError:
            continue
        if len(opened) == CHECKED:
            break
    return np.stack(opened)


def summary(order: Order, bundle: Bundle, sets: Sets) -> dict[str, Any]:
    return {
        "bundle": str(order.out),
        "name": order.name,
        "digest": bundle.code_digest,
        "grains": dict(bundle.grains),
        "bytes": len(bundle.onnx),
        "pictures": len(sets.contents),
        "refused": sets.refused,
        "words": bool(bundle.calibration),
        "text": bundle.text_tower is not None,
        KEY: bundle.others[KEY],
    }
