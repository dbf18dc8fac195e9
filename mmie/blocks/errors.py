"""What can go wrong while a block is built."""

from mmie.types import MmieError


class WeightsUnavailable(MmieError, RuntimeError):
    """The files of a pretrained model cannot be had; the message names the model and what to do offline."""
