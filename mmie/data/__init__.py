"""Corpora, pictures, and the batches made of them."""

from importlib import import_module
from typing import TYPE_CHECKING

from mmie.data.corpora.base import Corpus, CorpusError
from mmie.data.corpora.dataset import DatasetCorpus
from mmie.data.corpora.frame import FrameCorpus
from mmie.data.corpora.jsonl import JsonlCorpus
from mmie.data.corpora.mnre import MNRE
from mmie.data.corpora.twitter import Twitter2015, Twitter2017
from mmie.data.demo import DemoCorpus

if TYPE_CHECKING:
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


def __getattr__(name: str) -> object:
    """Import the data module when it is first used: corpora need neither Lightning nor torch.

    Raises:
        AttributeError: The package has no such name.
    """
    if name != "MultimodalDataModule":
        raise AttributeError(f"module 'mmie.data' has no attribute '{name}'")
    return import_module("mmie.data.datamodule").MultimodalDataModule
