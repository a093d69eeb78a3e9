"""How near one picture is to another, pixel by pixel: PSNR and SSIM."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from hashgrain.media.picture import Pixels

Mask = NDArray[np.bool_]
WINDOW, SIGMA = 11, 1.5  # of SSIM, in pixels
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def psnr(first: Pixels, second: Pixels, mask: Mask | None = None) -> float:
    """Peak signal-to-noise ratio in dB, over the pixels of the mask; infinite for equal pixels, NaN for none."""
    apart = first.astype(np.float64) - second.astype(np.float64)
    if mask is not None:
        apart = apart[mask]
    if not apart.size:
        return float("nan")
    error = float(np.mean(apart**2))
    return float("inf") if error == 0 else 10 * float(np.log10(255**2 / error))


def ssim(first: Pixels, second: Pixels, mask: Mask | None = None) -> float:
    """Structural similarity (Wang et al., 2004) with a Gaussian window of 11 x 11 pixels, the mean of the channels and
    of all windows inside the picture; with a mask, of those whose pixels are all in it. NaN where there is none."""
    if min(first.shape[:2]) < WINDOW:
        return float("nan")
    x, y = first.astype(np.float64), second.astype(np.float64)
    mean_x, mean_y = _smoothed(x), _smoothed(y)
    var_x, var_y = _smoothed(x * x) - mean_x**2, _smoothed(y * y) - mean_y**2
    both = _smoothed(x * y) - mean_x * mean_y
    top = (2 * mean_x * mean_y + _C1) * (2 * both + _C2)
    values = top / ((mean_x**2 + mean_y**2 + _C1) * (var_x + var_y + _C2))
    if mask is not None:
        values = values[_whole_windows(mask)]
    return float(values.mean()) if values.size else float("nan")


def _smoothed(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """The weighted mean of each window that lies inside the picture."""
    places = np.arange(WINDOW) - WINDOW // 2
    weights = np.exp(-(places**2) / (2 * SIGMA**2))
    weights /= weights.sum()
    rows, columns = (edge - WINDOW + 1 for edge in image.shape[:2])
    down = np.zeros((rows, *image.shape[1:]))
    for place, weight in enumerate(weights):
        down += weight * image[place : place + rows]
    smoothed = np.zeros((rows, columns, *image.shape[2:]))
    for place, weight in enumerate(weights):
        smoothed += weight * down[:, place : place + columns]
    return smoothed


def _whole_windows(mask: Mask) -> Mask:
    """Which windows inside the picture have all their pixels in the mask."""
    sums = np.pad(np.cumsum(np.cumsum(mask, axis=0), axis=1), ((1, 0), (1, 0)))
    n = WINDOW
    return np.asarray(sums[n:, n:] - sums[:-n, n:] - sums[n:, :-n] + sums[:-n, :-n] == n * n)
