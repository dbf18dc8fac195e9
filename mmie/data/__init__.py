"""Corpora, pictures, and the batches made of them."""

from mmie.data.corpus import Corpus, CorpusError
from mmie.data.datamodule import MultimodalDataModule
from mmie.data.demo import DemoCorpus
from mmie.data.jsonl import JsonlCorpus
from mmie.data.mnre import MNRE
from mmie.data.twitter import Twitter2015, Twitter2017

__all__ = [
    "MNRE",
    "Corpus",
    "CorpusError",
    "DemoCorpus",
    "JsonlCorpus",
    "MultimodalDataModule",
    "Twitter2015",
    "Twitter2017",
]
