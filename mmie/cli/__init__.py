"""The `mmie` command."""

from mmie.cli.main import main

__all__ = ["main"]
