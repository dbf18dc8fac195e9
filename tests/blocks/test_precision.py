"""Conversion to types that are wide enough for sums."""

import pytest
import torch

from mmie.blocks.precision import at_least_float32


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_narrow_types_become_float32(dtype, expected):
    values = torch.tensor([0.1, 2.0], dtype=dtype)
    converted = at_least_float32(values)
    assert converted.dtype == expected
    assert torch.equal(converted.to(dtype), values)
