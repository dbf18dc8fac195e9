"""Random resized crops: their area, aspect ratio, place and range."""

import torch

from mmie.blocks.augmentation import random_resized_crops


def test_crops_have_8_to_100_percent_of_the_area_and_ratios_up_to_4_to_3():
    """Measure the crops of a picture whose red is the column and whose green is the row."""
    size, count = 64, 400
    ramp = 4.0 * torch.arange(size)
    red, green = ramp.expand(size, size), ramp.unsqueeze(1).expand(size, size)
    picture = torch.stack([red, green, torch.zeros(size, size)])
    torch.manual_seed(0)
    crops = random_resized_crops(picture.to(torch.uint8).expand(count, -1, -1, -1), size)
    assert crops.shape == (count, 3, size, size)
    # columns of the picture for each column of the crop, below 0 where flipped
    slope = (crops[:, 0, 32, 48] - crops[:, 0, 32, 16]) / 4 / 32
    width = slope.abs()
    height = (crops[:, 1, 48, 32] - crops[:, 1, 16, 32]) / 4 / 32
    assert width.max() < 1.01
    assert height.max() < 1.01
    area, ratio = width * height, width / height
    assert 0.06 < area.min() < 0.15
    assert area.max() > 0.9
    assert 0.4 < area.mean() < 0.6
    assert 0.7 < ratio.min() < 0.8
    assert 1.25 < ratio.max() < 1.4
    assert 0.4 < (slope < 0).float().mean() < 0.6
    left = crops[:, 0].amin(dim=(1, 2)) / 4
    assert left.min() < 2
    assert left.max() > 30


def test_crops_differ_between_calls_and_stay_in_the_range_of_pixels():
    pictures = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    torch.manual_seed(0)
    first, second = random_resized_crops(pictures, 32), random_resized_crops(pictures, 32)
    assert not torch.equal(first, second)
    assert first.min() >= 0
    assert first.max() <= 255
