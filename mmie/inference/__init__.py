"""Methods applied to one's own posts."""

from mmie.inference.extractor import Extractor, load_extractor, load_pair

__all__ = ["Extractor", "load_extractor", "load_pair"]
