"""Corpora, pictures, and the batches made of them."""

from importlib import import_module
from typing import TYPE_CHECKING

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


_NEED_TORCH = {
    "DatasetCorpus": "mmie.data.corpora.dataset",
    "FrameCorpus": "mmie.data.corpora.frame",
    "MultimodalDataModule": "mmie.data.datamodule",
}


def __getattr__(name: str) -> object:
    """Import what needs torch when it is first used: other corpora do without.

    Raises:
        AttributeError: The package has no such name.
    """
    if name not in _NEED_TORCH:
        raise AttributeError(f"module 'mmie.data' has no attribute '{name}'")
    return getattr(import_module(_NEED_TORCH[name]), name)
