"""Random views of pictures, a batch at a time, with tensor operations.

One affine warp does crop, aspect, flip and rotation; one matrix per picture does color; a bar may cover an edge, like a
caption. The ranges cover the near copies that must keep the code of the `look` grain.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from hashgrain.learn.data.choices import Augmentation as Augmentation


def random_views(pixels: Tensor, size: int, generator: Generator, how: Augmentation) -> Tensor:
    """(n, s, s, 3) bytes to (n, 3, size, size) floats in 0..1, with random parameters for each picture."""
    views = pixels.permute(0, 3, 1, 2).float() / 255
    if views.shape[-1] >= 2 * size:
        views = F.avg_pool2d(views, views.shape[-1] // size)  # the warp below samples four points: no aliasing
    views = _warp(views, size, generator, how)
    views = _recolor(views, generator, how)
    views = _blur(views, generator, how)
    return _cover(views, generator, how).clamp(0, 1)


def _uniform(n: int, low: float, high: float, generator: Generator, device: torch.device) -> Tensor:
    # Drawn on the CPU, so that a seed gives the same views on every device.
    return (torch.rand(n, generator=generator) * (high - low) + low).to(device)


def _warp(views: Tensor, size: int, generator: Generator, how: Augmentation) -> Tensor:
    n, device = len(views), views.device
    scale = _uniform(n, how.smallest_crop, 1.0, generator, device).sqrt()
    stretch = torch.exp(_uniform(n, -1, 1, generator, device) * torch.log(torch.tensor(how.aspect)) / 2)
    width, height = (scale * stretch).clamp(max=1), (scale / stretch).clamp(max=1)
    center_x = _uniform(n, -1, 1, generator, device) * (1 - width)
    center_y = _uniform(n, -1, 1, generator, device) * (1 - height)
    mirrored = _uniform(n, 0, 1, generator, device) < how.flip
    turned = _uniform(n, 0, 1, generator, device) < 0.5
    angle = torch.deg2rad(_uniform(n, -how.rotate, how.rotate, generator, device)) * turned
    sign = 1 - 2 * mirrored.float()
    rows = torch.stack(
        [
            torch.stack([sign * width * angle.cos(), -height * angle.sin(), center_x], 1),
            torch.stack([sign * width * angle.sin(), height * angle.cos(), center_y], 1),
        ],
        1,
    )
    grid = F.affine_grid(rows, [n, 3, size, size], align_corners=False)
    return F.grid_sample(views, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def _recolor(views: Tensor, generator: Generator, how: Augmentation) -> Tensor:
    n, device = len(views), views.device
    shape = (n, 1, 1, 1)
    brightness = _uniform(n, 1 - how.brightness, 1 + how.brightness, generator, device).view(shape)
    contrast = _uniform(n, 1 - how.contrast, 1 + how.contrast, generator, device).view(shape)
    gain = _uniform(n * 3, 1 - how.color, 1 + how.color, generator, device).view(n, 3, 1, 1)
    gray = (_uniform(n, 0, 1, generator, device) < how.gray).view(shape)
    mean = views.mean(dim=(1, 2, 3), keepdim=True)
    views = ((views - mean) * contrast + mean) * brightness * gain
    return torch.where(gray, views.mean(dim=1, keepdim=True).expand_as(views), views)


def _blur(views: Tensor, generator: Generator, how: Augmentation) -> Tensor:
    chosen = (_uniform(len(views), 0, 1, generator, views.device) < how.blur).view(-1, 1, 1, 1)
    small = F.avg_pool2d(views, 2)
    blurred = F.interpolate(small, size=views.shape[-2:], mode="bilinear", align_corners=False)
    return torch.where(chosen, blurred, views)


def _cover(views: Tensor, generator: Generator, how: Augmentation) -> Tensor:
    n, size, device = len(views), views.shape[-1], views.device
    chosen = _uniform(n, 0, 1, generator, device) < how.bar
    thickness = _uniform(n, 0.08, 0.25, generator, device) * chosen
    at_top = _uniform(n, 0, 1, generator, device) < 0.5
    shade = (_uniform(n, 0, 1, generator, device) < 0.5).float().view(n, 1, 1, 1)
    height = torch.linspace(0, 1, size, device=device).view(1, size)
    from_edge = torch.where(at_top.view(n, 1), height, 1 - height)
    covered = (from_edge < thickness.view(n, 1)).view(n, 1, size, 1)
    return torch.where(covered, shade, views)
