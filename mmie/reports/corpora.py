"""The corpus that a run's configuration names."""

import importlib
from typing import Any

from mmie.data import Corpus


def build_corpus(config: dict[str, Any]) -> Corpus:
    """Build the corpus of a configuration.

    Args:
        config: ``class_path`` and ``init_args`` of the corpus.

    Raises:
        TypeError: The configuration names something else than a corpus.
    """
    module, _, name = config["class_path"].rpartition(".")
    corpus_class = getattr(importlib.import_module(module), name)
    if not (isinstance(corpus_class, type) and issubclass(corpus_class, Corpus)):
        raise TypeError(f"expected a corpus, got {config['class_path']}")
    return corpus_class(**config["init_args"])
