"""Methods applied to one's own posts."""

from typing import TYPE_CHECKING

import mmie.utils.late_imports as late_imports

if TYPE_CHECKING:
    from mmie.inference.extractor import Extractor, load_extractor, load_pair
    from mmie.inference.pipelines import Pipeline, pipeline

__all__ = ["Extractor", "Pipeline", "load_extractor", "load_pair", "pipeline"]

# Conversion of results needs no method.
__getattr__ = late_imports.late_getattr(
    __name__,
    {
        "Extractor": "mmie.inference.extractor",
        "Pipeline": "mmie.inference.pipelines",
        "load_extractor": "mmie.inference.extractor",
        "load_pair": "mmie.inference.extractor",
        "pipeline": "mmie.inference.pipelines",
    },
)
