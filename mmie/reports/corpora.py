"""The corpus that a run's configuration names: its class, its pictures and its contexts.

A configuration may come from somebody else: nothing is imported, no corpus is written, pictures are
those that the corpus itself names, whose reader keeps them inside its folder, and contexts are read
from there alone.
"""

import inspect
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import mmie.data
from mmie.data import Corpus
from mmie.data.corpora.base import CorpusError
from mmie.data.corpora.contexts import context_path
from mmie.data.parsing import expand_user, lies_inside
from mmie.reports.imported import imported_object
from mmie.types import SPLITS
from mmie.utils.plugins import advise_import


def find_corpus_class(config: Mapping[str, Any]) -> type[Corpus]:
    """Find the class of a configuration among the corpora of the package and imported ones.

    Args:
        config: ``class_path`` and ``init_args`` of the corpus. A class of the package may stand
            without its module.

    Raises:
        CorpusError: The configuration names no such class.
    """
    class_path = config.get("class_path") if isinstance(config, Mapping) else None
    if not isinstance(class_path, str):
        raise CorpusError("the configuration names no class of a corpus")
    corpus_class = imported_object(class_path)
    if "." not in class_path:
        corpus_class = vars(mmie.data).get(class_path)
    if not inspect.isclass(corpus_class) or not issubclass(corpus_class, Corpus):
        raise CorpusError(
            f"{class_path} is no corpus of the package, and none that has been imported, and a "
            f"report imports nothing that a run names: {advise_import(class_path)}"
        )
    return corpus_class


def build_corpus(config: Mapping[str, Any]) -> Corpus:
    """Build the corpus of a configuration, which must exist.

    Args:
        config: ``class_path`` and ``init_args`` of the corpus.

    Raises:
        CorpusError: The class is not imported, its arguments do not fit, its folder is missing, or
            it cannot be read.
    """
    corpus_class = find_corpus_class(config)
    name = corpus_class.__name__
    try:
        bound = inspect.signature(corpus_class).bind(**(config.get("init_args") or {}))
        bound.apply_defaults()
        check_folder(name, bound.arguments.get("root"))
        return corpus_class(*bound.args, **bound.kwargs)
    except (TypeError, AttributeError, ValueError, OSError) as error:
        if isinstance(error, CorpusError):
            raise
        raise CorpusError(f"{name} cannot be built: {error}") from error


def check_folder(name: str, root: object) -> None:
    """Raise if the folder of a corpus is missing, which a demo corpus would be written into.

    Args:
        name: Name of the corpus's class.
        root: Its folder.

    Raises:
        CorpusError: ``root`` is no path, or there is no such folder.
    """
    if not isinstance(root, str | Path) or not os.path.isdir(expand_user(root)):
        raise CorpusError(
            f"{root}: expected the folder of {name}, found no such folder: a report writes no "
            "corpus"
        )


def named_pictures(config: Mapping[str, Any]) -> dict[str, str]:
    """Return the pictures that the test split of a corpus names.

    Args:
        config: ``class_path`` and ``init_args`` of the corpus.

    Returns:
        Files by their absolute path.

    Raises:
        CorpusError: The corpus cannot be built or its test split cannot be read.
    """
    pictures = {}
    for post in build_corpus(config).posts("test"):
        if post.image is not None:
            pictures[os.path.abspath(post.image)] = str(post.image)
    return pictures


def holds_contexts(corpus: Corpus, context_file: object) -> bool:
    """Tell whether the context file that a configuration names lies in the folder of the corpus.

    Args:
        corpus: The corpus.
        context_file: Setting of the data module. Of a path with ``{split}``, the files of all
            splits have to lie there.
    """
    if not isinstance(context_file, str):
        return False
    return all(lies_inside(context_path(context_file, split), corpus.root) for split in SPLITS)
