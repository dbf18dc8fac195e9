"""Checkpoints: their content as a type, their files and folders, and whether one fits a method."""

from mmie.checkpoints.checkpoint import Checkpoint, CheckpointError, describe_method
from mmie.checkpoints.compatibility import CheckpointMismatch, check_fits
from mmie.checkpoints.file import read_checkpoint, read_checkpoint_file
from mmie.checkpoints.folder import read_pretrained

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "CheckpointMismatch",
    "check_fits",
    "describe_method",
    "read_checkpoint",
    "read_checkpoint_file",
    "read_pretrained",
]
