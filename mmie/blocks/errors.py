"""What can go wrong while a block is built or fitted to another."""

from mmie.types import MmieError


class WeightsUnavailable(MmieError, RuntimeError):
    """The files of a pretrained model cannot be had; the message names the model and what to do offline."""


class EncoderUnsuited(MmieError, ValueError):
    """A text encoder of a kind that cannot do what a method asks of it; the message names its type."""
