"""Wrong command lines."""

from mmie.types import MmieError


class UsageError(MmieError, ValueError):
    """An invalid command, option or setting."""
