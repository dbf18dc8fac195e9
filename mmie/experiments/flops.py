"""Floating-point operations of matrix products, and the rate at which a device computes them."""

import time

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop, sdpa_flop

GIGA = 1e9
_MATRIX_SIZE = {"cpu": 1024, "cuda": 8192}
"""Rows and columns of the matrices whose product is timed, by kind of device."""
_REPEATS = 5
_TYPES = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
"""Types of matrix products by Lightning's name of the precision; float32 for all others."""


def count_flops() -> FlopCounterMode:
    """Build a counter of the operations of matrix products, convolutions and attention.

    LSTMs that a device computes in one kernel are not counted.
    """
    attention = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    attention_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
    counter = FlopCounterMode(display=False)
    counter.flop_registry |= {attention: sdpa_flop, attention_backward: sdpa_backward_flop}
    return counter


def measure_matmul_rate(device: torch.device, precision: str, size: int | None = None) -> float:
    """Measure the operations per second of a product of two large square matrices.

    Args:
        device: The device.
        precision: Lightning's name of the precision.
        size: Rows and columns; by default enough for the device's full rate.

    Returns:
        The best rate of several products, with torch's present number of threads.
    """
    size = size or _MATRIX_SIZE.get(device.type, _MATRIX_SIZE["cpu"])
    dtype = _TYPES.get(precision, torch.float32)
    matrix = torch.rand(size, size, device=device).to(dtype)
    synchronise = torch.cuda.synchronize if device.type == "cuda" else torch.cpu.synchronize
    seconds = []
    for _ in range(1 + _REPEATS):  # the first one warms up
        synchronise()
        start = time.perf_counter()
        torch.mm(matrix, matrix)
        synchronise()
        seconds.append(time.perf_counter() - start)
    return float(2 * size**3 / min(seconds[1:]))
