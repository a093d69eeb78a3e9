"""A sample of pictures as a model takes them, on which smaller models are calibrated and compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hashgrain.errors import ImageError, SourceError
from hashgrain.labelled import labelled_pictures, same_part
from hashgrain.media import open_picture
from hashgrain.models import Bundle

MOST = 1000


def sample_pixels(bundle: Bundle, folder: Path, most: int = MOST) -> tuple[NDArray[np.uint8], dict[str, str]]:
    """Up to `most` pictures of a folder, or of its tables, evenly chosen; and the refused ones by name, with the
    reason. If there are splits, pictures of `train` only: queries must not calibrate."""
    every = list(labelled_pictures(folder, unlabelled=True))
    pictures = [picture for picture in every if same_part(picture.part) in ("", "train")] or every
    opened, refused = [], {}
    for place in np.unique(np.linspace(0, len(pictures) - 1, most).astype(int)) if pictures else []:
        picture = pictures[place]
        try:
            opened.append(open_picture(picture.read(), size=bundle.size, fit=bundle.fitted).pixels)
        except (ImageError, OSError) as error:
            refused[picture.name] = str(error).removeprefix("picture: ")
    if not opened:
        why = "".join(f"; {name}: {reason}" for name, reason in list(refused.items())[:3])
        raise SourceError(f"no pictures that can be opened in {folder}{why}")
    return np.stack(opened), refused
