"""Corpora, pictures, and the batches made of them."""

from typing import TYPE_CHECKING

import mmie.utils.late_imports as late_imports
from mmie.data.corpora.base import Corpus, CorpusError
from mmie.data.corpora.jsonl import JsonlCorpus
from mmie.data.corpora.mnre import MNRE
from mmie.data.corpora.twitter import Twitter2015, Twitter2017
from mmie.data.demo import DemoCorpus

if TYPE_CHECKING:
    from mmie.data.corpora.dataset import DatasetCorpus
    from mmie.data.corpora.frame import FrameCorpus
    from mmie.data.datamodule import MultimodalDataModule

__all__ = [
    "MNRE",
    "Corpus",
    "CorpusError",
    "DatasetCorpus",
    "DemoCorpus",
    "FrameCorpus",
    "JsonlCorpus",
    "MultimodalDataModule",
    "Twitter2015",
    "Twitter2017",
]

# These need torch; other corpora do without.
__getattr__ = late_imports.late_getattr(
    __name__,
    {
        "DatasetCorpus": "mmie.data.corpora.dataset",
        "FrameCorpus": "mmie.data.corpora.frame",
        "MultimodalDataModule": "mmie.data.datamodule",
    },
)
