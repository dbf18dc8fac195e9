"""Pictures of the demo corpus: one simple scene of four kinds before a blurred background.

The kinds differ in outline, layout and texture at once, so that even a frozen random backbone tells
them apart. Position, size, tint, frequency, phase and noise vary from picture to picture, and the
mean colour says next to nothing about the kind.
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
_Pattern = tuple[_Pixels, NDArray[np.bool_]]
"""Wave, positive where the scene is bright, and outline of the scene, (side, side) each."""

_BACKGROUND = (30.0, 80.0)
"""Range of the background's brightness."""
_FOREGROUND = (180.0, 230.0)
"""Range of the scene's brightness."""
_LARGE = (0.8, 0.98)
"""Range of a large scene's side, as a share of the picture's."""
_SMALL = (0.36, 0.44)
"""Range of a small scene's side, as a share of the picture's."""
_MIN_SIZE = 32


@dataclass(frozen=True, slots=True)
class Scene:
    """A picture, and the box of the scene in it."""

    picture: Image.Image
    box: Box

    def elsewhere(self) -> list[Box]:
        """Mirror the box into the three other corners.

        A small scene overlaps none of them.
        """
        width, height = self.picture.size
        left, top, right, bottom = self.box
        mirrored_left, mirrored_right = width - right, width - left
        mirrored_top, mirrored_bottom = height - bottom, height - top
        return [
            (left, mirrored_top, right, mirrored_bottom),
            (mirrored_left, top, mirrored_right, bottom),
            (mirrored_left, mirrored_top, mirrored_right, mirrored_bottom),
        ]


def draw_scene(kind: str, size: int, small: bool, random: np.random.Generator) -> Scene:
    """Draw a square picture with a scene of one kind.

    Args:
        kind: One of ``KINDS``.
        size: Height and width of the picture in pixels, 32 or more.
        small: Whether the scene stands small in a corner instead of filling the picture.
        random: Source of random numbers for everything that varies.

    Raises:
        ValueError: The size is below 32.
    """
    if size < _MIN_SIZE:
        raise ValueError(f"size is {size} pixels: scenes need {_MIN_SIZE} or more to be told apart")
    left, top, side = _draw_position(size, small, random)
    pixels = _draw_background(size, random)  # (size, size, 3)
    region = pixels[top : top + side, left : left + side]  # (side, side, 3), shares memory
    cover = _draw_cover(kind, side, random)[..., None]  # (side, side, 1)
    region[:] = (1 - cover) * region + cover * _draw_tint(_FOREGROUND, random)
    pixels += random.normal(0, 6, pixels.shape)
    picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    return Scene(picture, (left, top, left + side, top + side))


def rings(across: _Pixels, down: _Pixels, frequency: float, phase: float) -> _Pattern:
    """Compute concentric rings in a disc."""
    radius = np.hypot(across, down)  # (side, side)
    wave = np.sin(1.2 * frequency * radius + phase) + 0.3
    return wave, radius < 0.95


def peak(across: _Pixels, down: _Pixels, frequency: float, phase: float) -> _Pattern:
    """Compute horizontal stripes in a triangle that stands on its base."""
    wave = np.sin(2.6 * frequency * down + phase) + 0.3
    return wave, down > 1.2 * np.abs(across) - 0.95


def fence(across: _Pixels, down: _Pixels, frequency: float, phase: float) -> _Pattern:
    """Compute vertical stripes in a square."""
    wave = np.sin(2.6 * frequency * across + phase)
    return wave, np.maximum(np.abs(across), np.abs(down)) < 0.95


def dots(across: _Pixels, down: _Pixels, frequency: float, phase: float) -> _Pattern:
    """Compute scattered dots without an outline."""
    columns = np.sin(2 * frequency * across + phase)
    rows = np.sin(2 * frequency * down + phase)
    return 3 * (columns * rows - 0.1), np.ones(across.shape, dtype=np.bool_)


KINDS: dict[str, Callable[[_Pixels, _Pixels, float, float], _Pattern]] = {
    "rings": rings,
    "peak": peak,
    "fence": fence,
    "dots": dots,
}
"""Functions that compute the pattern of each kind of scene.

They take coordinates across and down (-1 to 1), a frequency and a phase.
"""


def _draw_position(size: int, small: bool, random: np.random.Generator) -> tuple[int, int, int]:
    """Draw left, top and side of the scene in pixels.

    A small scene stays within one quarter of the picture.
    """
    low, high = _SMALL if small else _LARGE
    side = int(size * random.uniform(low, high))
    room = size - side
    if not small:
        left = int(random.integers(room + 1))
        top = int(random.integers(room + 1))
        return left, top, side
    corner: list[int] = []
    for margin in random.integers(size // 2 - side + 1, size=2).tolist():
        corner.append(margin if random.random() < 0.5 else room - margin)
    left, top = corner
    return left, top, side


def _draw_background(size: int, random: np.random.Generator) -> _Pixels:
    """Draw dark clouds, (size, size, 3): sixteen random colours, smoothly interpolated."""
    coarse = _draw_tint(_BACKGROUND, random) + random.normal(0, 12, (4, 4, 3))  # (4, 4, 3)
    clouds = Image.fromarray(coarse.clip(0, 255).astype(np.uint8))
    clouds = clouds.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(clouds, dtype=np.float64)  # (size, size, 3)


def _draw_tint(brightness: tuple[float, float], random: np.random.Generator) -> _Pixels:
    """Draw a colour, (3,), of a brightness within a range and of any weak hue."""
    low, high = brightness
    return random.uniform(low, high) + random.uniform(-30, 30, 3)


def _draw_cover(kind: str, side: int, random: np.random.Generator) -> _Pixels:
    """Draw how much of each pixel the scene covers, (side, side), from 0 to 1."""
    axis = (np.arange(side) + 0.5) / side * 2 - 1  # (side,)
    down, across = np.meshgrid(axis, axis, indexing="ij")  # (side, side) each, -1 to 1
    frequency = 2 * math.pi * random.uniform(0.9, 1.1)
    phase = random.uniform(0, 2 * math.pi)
    wave, outline = KINDS[kind](across, down, frequency, phase)  # (side, side) each
    return np.clip(0.5 + 2 * wave, 0, 1) * outline
