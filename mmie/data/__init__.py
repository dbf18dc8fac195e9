"""Corpora, pictures, and the batches made of them."""

from mmie.data.corpora.base import Corpus, CorpusError
from mmie.data.corpora.dataset import DatasetCorpus
from mmie.data.corpora.frame import FrameCorpus
from mmie.data.corpora.jsonl import JsonlCorpus
from mmie.data.corpora.mnre import MNRE
from mmie.data.corpora.twitter import Twitter2015, Twitter2017
from mmie.data.datamodule import MultimodalDataModule
from mmie.data.demo import DemoCorpus

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
