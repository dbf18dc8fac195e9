"""Pictures of the demo corpus: one simple scene of four kinds before a blurred background.

The kinds differ in outline, layout and texture at once, so that even a frozen random backbone tells them apart; place,
size, tint, frequency, phase and noise vary from picture to picture, and the mean colour says next to nothing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Box = tuple[int, int, int, int]
"""Left, top, right and bottom in pixels, the last two exclusive, as Pillow counts."""

_Pixels = NDArray[np.float64]
_BACKGROUND, _FOREGROUND = (30.0, 80.0), (180.0, 230.0)
_LARGE, _SMALL = (0.8, 0.98), (0.36, 0.44)
_MIN_SIZE = 32


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture, and where in it the scene stands."""

    picture: Image.Image
    box: Box

    def elsewhere(self) -> list[Box]:
        """The box mirrored into the three other corners; a small scene overlaps none of them."""
        (left, top, right, bottom), (width, height) = self.box, self.picture.size
        columns, rows = (
            [(left, right), (width - right, width - left)],
            [(top, bottom), (height - bottom, height - top)],
        )
        return [(x0, y0, x1, y1) for x0, x1 in columns for y0, y1 in rows][1:]


def draw_scene(kind: str, size: int, small: bool, random: np.random.Generator) -> Scene:
    """A square picture with a scene of one kind.

    Args:
        kind: One of ``KINDS``.
        size: Height and width of the picture in pixels, 32 or more.
        small: Whether the scene stands small in a corner instead of filling the picture.
        random: Where everything that varies is drawn from.

    Raises:
        ValueError: The size is below 32.
    """
    if size < _MIN_SIZE:
        raise ValueError(f"size is {size} pixels: scenes need {_MIN_SIZE} or more to be told apart")
    left, top, side = _place(size, small, random)
    pixels = _background(size, random)  # (size, size, 3)
    region = pixels[top : top + side, left : left + side]  # (side, side, 3), a view
    cover = _cover(kind, side, random)[..., None]  # (side, side, 1)
    region[:] = (1 - cover) * region + cover * _tint(*_FOREGROUND, random)
    pixels += random.normal(0, 6, pixels.shape)
    picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    return Scene(picture, (left, top, left + side, top + side))


def _place(size: int, small: bool, random: np.random.Generator) -> tuple[int, int, int]:
    """Left, top and side of the scene in pixels; a small one stays within one quarter of the picture."""
    side = int(size * random.uniform(*(_SMALL if small else _LARGE)))
    room = size - side
    if not small:
        return int(random.integers(room + 1)), int(random.integers(room + 1)), side
    margins = random.integers(size // 2 - side + 1, size=2)
    left, top = (int(margin if random.random() < 0.5 else room - margin) for margin in margins)
    return left, top, side


def _background(size: int, random: np.random.Generator) -> _Pixels:
    """Dark clouds, (size, size, 3): sixteen random colours, smoothly spread."""
    coarse = _tint(*_BACKGROUND, random) + random.normal(0, 12, (4, 4, 3))
    small = Image.fromarray(coarse.clip(0, 255).astype(np.uint8))
    return np.asarray(small.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float64)


def _tint(low: float, high: float, random: np.random.Generator) -> _Pixels:
    """A colour, (3,), of a brightness between ``low`` and ``high`` and any weak hue."""
    return random.uniform(low, high) + random.uniform(-30, 30, 3)


def _cover(kind: str, side: int, random: np.random.Generator) -> _Pixels:
    """How much of each pixel the scene covers, (side, side), between 0 and 1."""
    axis = (np.arange(side) + 0.5) / side * 2 - 1
    down, across = np.meshgrid(axis, axis, indexing="ij")  # (side, side) each, -1 to 1
    frequency = 2 * math.pi * random.uniform(0.9, 1.1)
    wave, outline = KINDS[kind](across, down, frequency, random.uniform(0, 2 * math.pi))
    return np.clip(0.5 + 2 * wave, 0, 1) * outline


_Drawn = tuple[_Pixels, NDArray[np.bool_]]


def _rings(across: _Pixels, down: _Pixels, frequency: float, phase: float) -> _Drawn:
    """Concentric rings in a disc."""
    radius = np.hypot(across, down)
    return np.sin(1.2 * frequency * radius + phase) + 0.3, radius < 0.95


def _peak(across: _Pixels, down: _Pixels, frequency: float, phase: float) -> _Drawn:
    """Level stripes in a triangle that stands on its base."""
    return np.sin(2.6 * frequency * down + phase) + 0.3, down > 1.2 * np.abs(across) - 0.95


def _fence(across: _Pixels, down: _Pixels, frequency: float, phase: float) -> _Drawn:
    """Upright stripes in a square."""
    return np.sin(2.6 * frequency * across + phase), np.maximum(np.abs(across), np.abs(down)) < 0.95


def _dots(across: _Pixels, down: _Pixels, frequency: float, phase: float) -> _Drawn:
    """Scattered dots without an outline."""
    columns, rows = np.sin(2 * frequency * across + phase), np.sin(2 * frequency * down + phase)
    return 3 * (columns * rows - 0.1), np.ones(across.shape, dtype=np.bool_)


KINDS: dict[str, Callable[[_Pixels, _Pixels, float, float], _Drawn]] = {
    "rings": _rings,
    "peak": _peak,
    "fence": _fence,
    "dots": _dots,
}
"""The four kinds of scene. Each takes coordinates across and down (-1 to 1), a frequency and a phase, and gives a wave
(positive where the scene is bright) and the outline that it stays in."""
