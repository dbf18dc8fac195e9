"""Choice of the device to compute on, and description of the machine."""

import platform
import re
from pathlib import Path

import torch

from mmie.types import MmieError
from mmie.utils.processes import count_cores
from mmie.utils.text import first_line

_CPU_INFO = Path("/proc/cpuinfo")


class DeviceError(MmieError, ValueError):
    """A device that this machine does not have."""


def resolve_device(name: str = "auto") -> torch.device:
    """Return the device of a name. ``auto`` is a GPU if there is one, else the CPU.

    Raises:
        DeviceError: The machine has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise DeviceError(f"device '{name}' is not there: {first_line(error)}") from error
    return device


def describe_hardware(device: torch.device, processes: int = 1) -> str:
    """Describe the device that a process computes on, and the CPU of its machine.

    Args:
        device: Device of this process.
        processes: Number of processes that compute together, each on a device of its own.

    Returns:
        Such as ``2 x NVIDIA H100, AMD EPYC 7B13 (16 cores, 8 threads)``, or the CPU alone. Threads
        are those that torch computes with in each process.
    """
    cores = count_cores()
    threads = torch.get_num_threads()
    counts = f"{cores} core{'s' if cores > 1 else ''}, {threads} thread{'s' if threads > 1 else ''}"
    cpu = f"{_cpu_name()} ({counts})"
    if device.type == "cpu":
        return cpu if processes == 1 else f"{cpu}, {processes} processes"
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return f"{processes} x {name}, {cpu}"


def _cpu_name() -> str:
    """Return the model of the CPU, or its architecture where the system does not tell the model."""
    if _CPU_INFO.exists():
        text = _CPU_INFO.read_text(encoding="utf-8", errors="replace")
        model = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
        if model:
            return " ".join(model[1].split())
    return platform.processor() or platform.machine()
