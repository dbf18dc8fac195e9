"""Methods applied to one's own posts."""

from mmie.inference.extractor import Extractor, load_extractor, load_pair
from mmie.inference.pipeline import Pipeline, pipeline

__all__ = ["Extractor", "Pipeline", "load_extractor", "load_pair", "pipeline"]
