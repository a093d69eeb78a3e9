"""The start of a model's check: whether its bundle can be read, and the pictures to check it on."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

from PIL import Image

from hashgrain.apps.drawn_scenes import scenes
from hashgrain.errors import BundleError, ImageError, SourceError
from hashgrain.evaluate import Finding
from hashgrain.media import open_picture
from hashgrain.models import Encoder
from hashgrain.sources import Refused, find

LOOKS = 8  # of each of the 15 things drawn where no pictures are given: 120 pictures
MOST_PICTURES = 200  # of a folder; more would tell little more
MOST_LISTED = 10_000  # what archives and tables list stays in memory
EDGE = 512  # pictures are held in memory, and models see them smaller than this anyway


def is_bundle(path: Path) -> bool:
    """A folder with at least one of a bundle's two files: half a bundle should be reported as damaged."""
    return any((path / name).is_file() for name in ("model.json", "model.onnx"))


def open_bundle(bundle: str | Path) -> tuple[Finding, Encoder | None]:
    """Whether the files are complete and fit together; and the model, if they are."""
    try:
        encoder = Encoder.load(bundle)
    except BundleError as error:
        return Finding("files", False, str(error)), None
    return Finding("files", True, f"whole, and what their digest {encoder.digest[:12]} says"), encoder


def pictures_to_check(folder: Path | None) -> tuple[list[Image.Image], str]:
    """Pictures that we draw, or up to MOST_PICTURES spread evenly over a folder; and a description of them."""
    if folder is None:
        drawn = [scene.image for scene in scenes(looks_per_thing=LOOKS, copies=0)]
        return drawn, f"{len(drawn)} pictures drawn for the purpose; your own tell more"
    sources = [source for source in islice(find(folder), MOST_LISTED) if not isinstance(source, Refused)]
    count = min(len(sources), MOST_PICTURES)
    pictures = []
    for source in (sources[place * len(sources) // count] for place in range(count)):
        try:
            image = Image.fromarray(open_picture(source.load(), name=source.path).pixels)
        except (ImageError, OSError):
            continue  # `hashgrain add` names each; here the others do as well
        image.thumbnail((EDGE, EDGE))
        pictures.append(image)
    if not pictures:
        raise SourceError(f"no pictures to check a model on in {folder}; give a folder with JPEG, PNG or WebP files")
    return pictures, f"{len(pictures)} pictures of {folder}"
