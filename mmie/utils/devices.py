"""Choice of the device to compute on."""

import torch

from mmie.types import MmieError
from mmie.utils.text import first_line


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
