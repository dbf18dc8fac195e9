"""Errors of making contexts."""

from mmie.types import MmieError


class ContextError(MmieError, ValueError):
    """Input that no context can be made of, or a file that cannot be read or written.

    The message is one line that tells the fix.
    """
