"""How each thing of the demo is drawn: backgrounds, then one function a thing, then the table of kinds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw

Color = tuple[int, int, int]
Dice = np.random.Generator
SIZE = (320, 240)
FINE = 2  # drawn this much larger and scaled down, which smooths every edge


class Canvas:
    """A picture being painted, in coordinates from 0 to 1 both ways."""

    def __init__(self, dice: Dice) -> None:
        self.dice = dice
        self.width, self.height = SIZE[0] * FINE, SIZE[1] * FINE
        self.image = Image.new("RGB", (self.width, self.height))
        self.draw = ImageDraw.Draw(self.image)

    def at(self, *points: tuple[float, float]) -> list[tuple[float, float]]:
        return [(x * self.width, y * self.height) for x, y in points]

    def vary(self, color: Color, by: int = 22) -> Color:
        shift = self.dice.integers(-by, by + 1, 3)
        return tuple(int(np.clip(channel + s, 0, 255)) for channel, s in zip(color, shift, strict=True))  # type: ignore[return-value]

    def fade(self, top: Color, bottom: Color, start: float = 0.0, end: float = 1.0) -> None:
        first, last = round(start * self.height), round(end * self.height)
        share = np.linspace(0, 1, max(1, last - first))[:, None]
        rows = (np.array(top) * (1 - share) + np.array(bottom) * share)[:, None, :]
        band = np.repeat(rows, self.width, axis=1).astype(np.uint8)
        self.image.paste(Image.fromarray(band), (0, first))

    def polygon(self, points: Sequence[tuple[float, float]], color: Color) -> None:
        self.draw.polygon(self.at(*points), fill=color)

    def ellipse(self, x: float, y: float, rx: float, ry: float, color: Color) -> None:
        self.draw.ellipse(self.at((x - rx, y - ry), (x + rx, y + ry)), fill=color)

    def box(self, x0: float, y0: float, x1: float, y1: float, color: Color, round_by: float = 0.0) -> None:
        corners = [*self.at((x0, y0))[0], *self.at((x1, y1))[0]]
        self.draw.rounded_rectangle(corners, radius=round_by * self.width, fill=color)

    def line(self, points: Sequence[tuple[float, float]], color: Color, width: float) -> None:
        self.draw.line(self.at(*points), fill=color, width=max(1, round(width * self.width)), joint="curve")

    def ridge(self, base: float, rough: float, color: Color) -> None:
        """Rolling land from one side to the other, everything below it filled."""
        x = np.linspace(0, 1, 60)
        waves = sum(
            self.dice.uniform(0.2, 1) * np.sin(x * self.dice.uniform(2, 14) + self.dice.uniform(0, 7)) for _ in range(4)
        )
        tops = base + rough * np.asarray(waves) / 3
        self.polygon([*zip(x.tolist(), tops.tolist(), strict=True), (1, 1), (0, 1)], color)


def _sky(c: Canvas, to: float = 1.0) -> None:
    skies: list[tuple[Color, Color]] = [
        ((70, 130, 200), (190, 220, 240)),
        ((120, 160, 200), (235, 235, 230)),
        ((60, 70, 120), (245, 170, 110)),
        ((150, 160, 170), (215, 218, 220)),
    ]
    top, bottom = skies[c.dice.integers(len(skies))]
    c.fade(c.vary(top), c.vary(bottom), 0, to)
    if c.dice.random() < 0.6:
        for _ in range(c.dice.integers(2, 6)):
            x, y = c.dice.uniform(0, 1), c.dice.uniform(0.02, 0.3) * to
            for _ in range(5):
                dx, dy = c.dice.normal(0, 0.05), c.dice.normal(0, 0.01)
                c.ellipse(x + dx, y + dy, 0.06, 0.025, c.vary((236, 238, 240), 8))


def _grass(c: Canvas, top: float) -> None:
    c.fade(c.vary((110, 150, 70)), c.vary((60, 100, 45)), top, 1)
    for _ in range(350):
        x, y = c.dice.uniform(0, 1), c.dice.uniform(top, 1)
        c.line([(x, y), (x + c.dice.normal(0, 0.006), y - 0.02)], c.vary((85, 130, 55), 35), 0.002)


def _road(c: Canvas, top: float) -> None:
    c.fade(c.vary((120, 120, 122), 8), c.vary((80, 80, 84), 8), top, 1)
    for x in np.arange(-0.1, 1.1, 0.22):
        c.box(x, top + 0.55 * (1 - top), x + 0.12, top + 0.6 * (1 - top), (225, 222, 205))


def _water(c: Canvas, top: float) -> None:
    deep = c.vary((30, 90, 130))
    c.fade(c.vary((90, 150, 180)), deep, top, 1)
    for _ in range(220):
        y = top + (1 - top) * c.dice.random() ** 1.5
        x, length = c.dice.uniform(0, 1), 0.02 + 0.1 * (y - top)
        c.line([(x, y), (x + length, y)], c.vary((150, 195, 215), 30), 0.002 + 0.004 * (y - top))


def sea(c: Canvas) -> None:
    horizon = c.dice.uniform(0.35, 0.6)
    _sky(c, horizon)
    _water(c, horizon)
    if c.dice.random() < 0.5:
        c.polygon(
            [(0, 1), (0, c.dice.uniform(0.8, 0.9)), (1, c.dice.uniform(0.88, 1)), (1, 1)], c.vary((215, 195, 150))
        )


def mountains(c: Canvas) -> None:
    _sky(c)
    for layer in range(3):
        base, color = 0.5 + 0.14 * layer, c.vary([(130, 145, 170), (95, 110, 130), (60, 85, 70)][layer])
        peaks: list[tuple[float, float]] = [(-0.1, 1.0)]
        x = -0.1
        while x < 1.1:
            peak = base - c.dice.uniform(0.1, 0.38) * (1 - 0.25 * layer)
            peaks += [(x, base), (x + 0.13, peak)]
            x += c.dice.uniform(0.2, 0.32)
        c.polygon([*peaks, (1.3, base), (1.3, 1.0)], color)
        if layer == 0:
            for top_x, top_y in [p for p in peaks if p[1] < base - 0.12]:
                snow = [
                    (top_x - 0.035, top_y + 0.08),
                    (top_x, top_y),
                    (top_x + 0.035, top_y + 0.08),
                    (top_x, top_y + 0.06),
                ]
                c.polygon(snow, (240, 243, 247))


def desert(c: Canvas) -> None:
    _sky(c, 0.6)
    c.ellipse(c.dice.uniform(0.1, 0.9), c.dice.uniform(0.1, 0.3), 0.05, 0.066, (255, 240, 200))
    for layer in range(4):
        c.ridge(0.5 + 0.13 * layer, 0.09, c.vary((225 - 14 * layer, 175 - 16 * layer, 110 - 14 * layer), 10))


def house(c: Canvas) -> None:
    _sky(c, 0.75)
    _grass(c, 0.7)
    x, w, top = c.dice.uniform(0.2, 0.4), c.dice.uniform(0.35, 0.48), c.dice.uniform(0.38, 0.48)
    c.box(x, top, x + w, 0.8, c.vary([(225, 205, 175), (190, 90, 70), (235, 235, 228)][c.dice.integers(3)]))
    c.polygon([(x - 0.05, top), (x + w / 2, top - 0.22), (x + w + 0.05, top)], c.vary((120, 60, 50)))
    for i in range(3):
        left = x + w * (0.1 + 0.3 * i)
        c.box(left, top + 0.08, left + w * 0.18, top + 0.2, c.vary((90, 120, 150)))
    c.box(x + w * 0.42, 0.62, x + w * 0.58, 0.8, c.vary((90, 60, 40)))


def tower(c: Canvas) -> None:
    _sky(c, 0.9)
    c.ridge(0.85, 0.04, c.vary((90, 110, 80)))
    x, w, top = c.dice.uniform(0.35, 0.6), c.dice.uniform(0.06, 0.1), c.dice.uniform(0.12, 0.22)
    stone, dark = c.vary((175, 165, 150)), c.vary((60, 55, 55))
    c.polygon([(x - w, 0.92), (x - w * 0.75, top), (x + w * 0.75, top), (x + w, 0.92)], stone)
    c.polygon([(x, 0.92), (x, top), (x + w * 0.75, top), (x + w, 0.92)], c.vary((145, 135, 122), 8))
    c.box(x - w * 1.0, top - 0.02, x + w * 1.0, top + 0.03, stone)
    c.polygon([(x - w * 0.9, top - 0.02), (x, top - 0.13), (x + w * 0.9, top - 0.02)], c.vary((130, 65, 55)))
    for y in np.arange(top + 0.1, 0.85, 0.15):
        c.box(x - 0.012, y, x + 0.012, y + 0.05, dark)


def skyline(c: Canvas) -> None:
    _sky(c)
    for layer in range(2):
        x = -0.05
        while x < 1.0:
            w, top = c.dice.uniform(0.07, 0.14), c.dice.uniform(0.2, 0.6) + 0.12 * layer
            c.box(x, top, x + w, 1, c.vary((105 - 30 * layer, 115 - 30 * layer, 135 - 30 * layer)))
            for y in np.arange(top + 0.03, 0.97, 0.05):
                for wx in np.arange(x + 0.012, x + w - 0.015, 0.024):
                    if c.dice.random() < 0.6:
                        c.box(wx, y, wx + 0.011, y + 0.022, c.vary((215, 205, 150), 30))
            x += w + 0.01


def fish(c: Canvas) -> None:
    c.fade(c.vary((40, 130, 160)), c.vary((10, 50, 90)))
    for _ in range(25):
        c.ellipse(c.dice.uniform(0, 1), c.dice.uniform(0, 1), 0.006, 0.008, c.vary((120, 190, 205)))
    x, y, r, way = c.dice.uniform(0.4, 0.6), c.dice.uniform(0.4, 0.6), c.dice.uniform(0.2, 0.27), c.dice.choice([-1, 1])
    body = c.vary([(245, 150, 40), (230, 80, 60), (240, 210, 70)][c.dice.integers(3)])
    c.polygon([(x - way * r * 0.8, y), (x - way * r * 1.5, y - 0.13), (x - way * r * 1.5, y + 0.13)], body)
    c.polygon([(x - way * 0.1, y - r * 0.5), (x, y - r * 0.95), (x + way * 0.1, y - r * 0.4)], c.vary(body, 12))
    c.ellipse(x, y, r, r * 0.62, body)
    for stripe in (-0.3, 0.1, 0.45):
        c.ellipse(x + way * r * stripe, y, 0.014, r * 0.5, (245, 240, 230))
    c.ellipse(x + way * r * 0.7, y - 0.04, 0.02, 0.027, (250, 250, 250))
    c.ellipse(x + way * r * 0.72, y - 0.04, 0.01, 0.014, (20, 20, 20))


def bird(c: Canvas) -> None:
    _sky(c)
    x, y, r, way = c.dice.uniform(0.4, 0.6), c.dice.uniform(0.4, 0.5), c.dice.uniform(0.1, 0.14), c.dice.choice([-1, 1])
    body = c.vary([(190, 60, 50), (60, 100, 170), (110, 85, 60)][c.dice.integers(3)])
    c.line([(0, y + 2.1 * r), (1, y + 1.8 * r)], c.vary((95, 70, 50)), 0.025)
    c.polygon(
        [(x - way * r, y + 0.5 * r), (x - way * 2.4 * r, y + 1.6 * r), (x - way * 2.1 * r, y + 0.9 * r)], c.vary(body)
    )
    c.ellipse(x, y + 0.6 * r, r * 1.15, r * 1.2, body)
    c.ellipse(x + way * 0.2 * r, y + 0.9 * r, r * 0.8, r * 0.8, c.vary((225, 205, 180)))
    c.ellipse(x + way * 0.8 * r, y - 0.5 * r, r * 0.65, r * 0.8, body)
    c.ellipse(x - way * 0.35 * r, y + 0.5 * r, r * 0.7, r * 0.6, c.vary((70, 60, 60)))
    c.polygon(
        [(x + way * 1.35 * r, y - 0.65 * r), (x + way * 1.9 * r, y - 0.4 * r), (x + way * 1.35 * r, y - 0.3 * r)],
        (235, 165, 40),
    )
    c.ellipse(x + way * 0.95 * r, y - 0.65 * r, 0.012, 0.016, (15, 15, 15))


def cat(c: Canvas) -> None:
    c.fade(c.vary((205, 180, 160)), c.vary((150, 110, 90)), 0, 0.75)
    c.fade(c.vary((130, 85, 60)), c.vary((95, 60, 45)), 0.72, 1)
    x, y, r = c.dice.uniform(0.42, 0.58), c.dice.uniform(0.36, 0.44), c.dice.uniform(0.12, 0.15)
    fur = c.vary([(215, 140, 70), (120, 120, 122), (60, 55, 55), (235, 225, 210)][c.dice.integers(4)])
    c.line([(x + r, 0.85), (x + 2.2 * r, 0.75), (x + 2.1 * r, 0.5)], fur, 0.045)
    c.ellipse(x, 0.75, r * 1.25, 0.27, fur)
    for side in (-1, 1):
        c.polygon(
            [(x + side * r * 0.95, y - 0.02), (x + side * r * 0.9, y - 1.7 * r), (x + side * r * 0.2, y - r)], fur
        )
        c.ellipse(x + side * r * 0.6, 0.92, 0.05, 0.05, c.vary(fur, 14))
    c.ellipse(x, y, r, r * 1.2, fur)
    for side in (-1, 1):
        c.ellipse(x + side * r * 0.42, y - 0.02, 0.024, 0.03, c.vary((170, 200, 80)))
        c.ellipse(x + side * r * 0.42, y - 0.02, 0.007, 0.026, (15, 15, 15))
        for lift in (-0.02, 0.01, 0.04):
            c.line([(x + side * 0.03, y + 0.08), (x + side * r * 1.4, y + 0.07 + lift)], (245, 245, 240), 0.002)
    c.polygon([(x - 0.018, y + 0.05), (x + 0.018, y + 0.05), (x, y + 0.08)], (220, 130, 130))


def _wheels(c: Canvas, xs: Sequence[float], y: float, r: float) -> None:
    for x in xs:
        c.ellipse(x, y, r, r * 4 / 3, (25, 25, 27))
        c.ellipse(x, y, r * 0.5, r * 0.66, (165, 165, 170))


def car(c: Canvas) -> None:
    _sky(c, 0.7)
    c.ridge(0.6, 0.05, c.vary((100, 130, 90)))
    _road(c, 0.68)
    x, y, w = c.dice.uniform(0.15, 0.3), c.dice.uniform(0.66, 0.74), c.dice.uniform(0.5, 0.58)
    paint = c.vary([(200, 40, 40), (40, 80, 170), (230, 200, 60), (225, 225, 228)][c.dice.integers(4)])
    c.ellipse(x + w / 2, y + 0.11, w * 0.55, 0.03, (55, 55, 58))
    c.polygon(
        [(x + 0.18 * w, y - 0.09), (x + 0.32 * w, y - 0.22), (x + 0.68 * w, y - 0.22), (x + 0.84 * w, y - 0.09)], paint
    )
    c.polygon(
        [(x + 0.24 * w, y - 0.09), (x + 0.35 * w, y - 0.19), (x + 0.49 * w, y - 0.19), (x + 0.49 * w, y - 0.09)],
        (150, 190, 210),
    )
    c.polygon(
        [(x + 0.53 * w, y - 0.19), (x + 0.66 * w, y - 0.19), (x + 0.77 * w, y - 0.09), (x + 0.53 * w, y - 0.09)],
        (150, 190, 210),
    )
    c.box(x, y - 0.1, x + w, y + 0.06, paint, 0.03)
    _wheels(c, (x + 0.2 * w, x + 0.8 * w), y + 0.06, 0.055)


def boat(c: Canvas) -> None:
    _sky(c, 0.55)
    _water(c, 0.52)
    x, y, w = c.dice.uniform(0.35, 0.6), c.dice.uniform(0.6, 0.7), c.dice.uniform(0.2, 0.28)
    c.polygon([(x, y - 0.5), (x, y - 0.06), (x + w * 0.85, y - 0.08)], c.vary((245, 240, 230), 10))
    c.polygon([(x - 0.015, y - 0.42), (x - 0.015, y - 0.06), (x - w * 0.7, y - 0.08)], c.vary((225, 90, 70), 40))
    c.line([(x, y - 0.53), (x, y)], (90, 65, 45), 0.008)
    c.polygon(
        [(x - w, y - 0.04), (x + w, y - 0.04), (x + w * 0.7, y + 0.08), (x - w * 0.75, y + 0.08)], c.vary((120, 60, 40))
    )


def train_(c: Canvas) -> None:
    _sky(c, 0.7)
    c.ridge(0.55, 0.06, c.vary((110, 140, 95)))
    c.fade(c.vary((150, 135, 115)), c.vary((110, 98, 85)), 0.74, 1)
    for x in np.arange(-0.05, 1.1, 0.07):
        c.box(x, 0.84, x + 0.03, 0.9, (80, 60, 48))
    c.box(0, 0.83, 1, 0.85, (150, 150, 155))
    paint = c.vary([(50, 110, 80), (170, 45, 45), (50, 75, 140)][c.dice.integers(3)])
    start = c.dice.uniform(-0.1, 0.1)
    for wagon in range(3):
        x = start + wagon * 0.36
        c.box(x, 0.46, x + 0.34, 0.78, paint, 0.015)
        c.box(x, 0.44, x + 0.34, 0.49, c.vary((200, 200, 200), 10), 0.01)
        for window in range(4):
            c.box(x + 0.03 + 0.075 * window, 0.54, x + 0.08 + 0.075 * window, 0.64, (190, 215, 225))
        _wheels(c, (x + 0.07, x + 0.27), 0.79, 0.03)


def tree(c: Canvas) -> None:
    _sky(c, 0.8)
    _grass(c, 0.75)
    x, y = c.dice.uniform(0.4, 0.6), c.dice.uniform(0.32, 0.42)
    c.polygon([(x - 0.05, 0.9), (x - 0.02, y), (x + 0.02, y), (x + 0.05, 0.9)], c.vary((95, 70, 50)))
    leaves = c.vary([(70, 120, 50), (190, 120, 40), (100, 150, 70)][c.dice.integers(3)])
    for _ in range(70):
        angle, far = c.dice.uniform(0, 2 * math.pi), c.dice.uniform(0, 1) ** 0.6
        c.ellipse(x + 0.22 * far * math.cos(angle), y + 0.24 * far * math.sin(angle), 0.06, 0.07, c.vary(leaves, 26))


def flower(c: Canvas) -> None:
    c.fade(c.vary((120, 160, 90)), c.vary((50, 85, 45)))
    for _ in range(30):
        c.ellipse(c.dice.uniform(0, 1), c.dice.uniform(0, 1), 0.08, 0.09, c.vary((85, 125, 65), 25))
    x, y, r = c.dice.uniform(0.42, 0.58), c.dice.uniform(0.38, 0.48), c.dice.uniform(0.15, 0.2)
    petal = c.vary([(235, 90, 130), (245, 245, 240), (150, 90, 200), (250, 205, 60)][c.dice.integers(4)])
    c.line([(x, y), (x + c.dice.normal(0, 0.04), 1)], c.vary((60, 110, 50)), 0.02)
    n = int(c.dice.integers(6, 10))
    for i in range(n):
        angle = 2 * math.pi * i / n
        c.ellipse(x + r * math.cos(angle), y + r * 1.25 * math.sin(angle), r * 0.55, r * 0.7, c.vary(petal, 12))
    c.ellipse(x, y, r * 0.55, r * 0.73, c.vary((200, 140, 40)))


def cactus(c: Canvas) -> None:
    _sky(c, 0.75)
    c.ridge(0.72, 0.03, c.vary((205, 165, 115)))
    x, top, green = c.dice.uniform(0.4, 0.6), c.dice.uniform(0.18, 0.28), c.vary((75, 130, 75))
    c.box(x - 0.05, top, x + 0.05, 0.9, green, 0.05)
    for side in (-1, 1):
        y = c.dice.uniform(0.42, 0.58)
        c.line([(x, y + 0.1), (x + side * 0.15, y + 0.1), (x + side * 0.15, y - 0.1)], green, 0.06)
        c.ellipse(x + side * 0.15, y - 0.1, 0.03, 0.04, green)
    for _ in range(90):
        px, py = x + c.dice.uniform(-0.045, 0.045), c.dice.uniform(top, 0.88)
        c.line([(px, py), (px + 0.004, py - 0.012)], (215, 225, 190), 0.0015)


KINDS: dict[str, dict[str, Callable[[Canvas], None]]] = {
    "landscape": {"sea": sea, "mountains": mountains, "desert": desert},
    "building": {"house": house, "tower": tower, "skyline": skyline},
    "animal": {"fish": fish, "bird": bird, "cat": cat},
    "vehicle": {"car": car, "boat": boat, "train": train_},
    "plant": {"tree": tree, "flower": flower, "cactus": cactus},
}
