"""Random resized crops of pictures, drawn and computed on the device for all pictures at once."""

import math

import torch
from torch import Tensor
from torchvision.ops import roi_align  # type: ignore[import-untyped]

_MIN_AREA = 0.08
_MAX_RATIO = 4 / 3


def random_resized_crops(pictures: Tensor, size: int) -> Tensor:
    """Cut a random crop from every picture, resize it to the picture's size, and flip half of them.

    Area and aspect ratio are drawn as by Szegedy et al. (Going Deeper with Convolutions, CVPR
    2015): 8 to 100 % of the picture, 3:4 to 4:3.

    Args:
        pictures: (pictures, 3, size, size) uint8 RGB.
        size: Their height and width.

    Returns:
        (pictures, 3, size, size) float, 0 to 255.
    """
    # (pictures,) each, uniform from 0 to 1
    area, ratio, left, top, flip = torch.rand(5, len(pictures), device=pictures.device)
    boxes = _draw_boxes(area, ratio, left, top) * size  # (pictures, 4)
    indices = torch.arange(len(pictures), device=boxes.device).unsqueeze(1)  # (pictures, 1)
    indexed_boxes = torch.cat([indices.to(boxes), boxes], dim=1)  # (pictures, 5)
    # (pictures, 3, size, size)
    crops: Tensor = roi_align(pictures.float(), indexed_boxes, size, sampling_ratio=2, aligned=True)
    return torch.where((flip < 1 / 2)[:, None, None, None], crops.flip(-1), crops)


def _draw_boxes(area: Tensor, ratio: Tensor, left: Tensor, top: Tensor) -> Tensor:
    """Turn uniform draws (pictures,) into boxes.

    Returns:
        (pictures, 4): left, top, right and bottom as shares of the picture's width and height.
    """
    aspect = torch.exp((2 * ratio - 1) * math.log(_MAX_RATIO))  # (pictures,), width / height
    side = (_MIN_AREA + (1 - _MIN_AREA) * area).sqrt()  # (pictures,)
    width = (side * aspect.sqrt()).clamp(max=1)  # (pictures,)
    height = (side / aspect.sqrt()).clamp(max=1)  # (pictures,)
    left = left * (1 - width)
    top = top * (1 - height)
    return torch.stack([left, top, left + width, top + height], dim=1)
