"""Types of numbers in which sums and products are computed."""

import torch
from torch import Tensor


def at_least_float32(values: Tensor) -> Tensor:
    """Convert float16 and bfloat16 to float32, and leave wider types as they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))
