"""Entities and relations in short texts that come with a picture: published methods under one roof."""

from importlib.metadata import version

__version__ = version("mmie")
