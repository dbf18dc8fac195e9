"""``mmie context``: text context for the posts of a corpus."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from jsonargparse.typing import NonNegativeInt, PositiveInt

from mmie.cli.parsing import OneLineParser, UsageError, usage_errors
from mmie.context.errors import ContextError
from mmie.context.retrieval import TEMPLATE, RetrievalOptions, Retriever
from mmie.context.search import BM25Search, TextSearch
from mmie.context.training_texts import labelled_posts
from mmie.context.writing import context_targets
from mmie.data import Corpus
from mmie.types import SPLITS, Post, Split, Task
from mmie.utils.locks import file_lock
from mmie.utils.signals import termination_interrupts
from mmie.utils.terminal import print_lines

_SUBCOMMANDS = ("retrieve",)
Maker = Callable[[Split], Mapping[str, str]]
"""Function that returns the contexts of a split by post id."""


def context_command(arguments: Sequence[str]) -> None:
    """Run ``mmie context``.

    Raises:
        UsageError: An option is wrong.
        ContextError: Contexts cannot be made, or a file cannot be read.
        CorpusError: A post is malformed, or a context file to append to is.
        MissingPackageError: A package of an extra is not installed.
        LockError: Another process writes the same file.
        OSError: A file cannot be written.
    """
    parser = _context_parser()
    settings = parser.parse_args(list(arguments))
    name = settings.subcommand
    with usage_errors():
        chosen = parser.instantiate(settings)[name]
    _retrieve(chosen)


def _retrieve(settings: Namespace) -> None:
    """Write similar training posts with their labels as contexts."""
    options = RetrievalOptions(settings.k, settings.max_words, settings.template)
    posts = _posts(settings)
    labelled = labelled_posts(
        settings.corpus, settings.task, settings.train_fraction, settings.seed
    )
    retriever = Retriever(labelled, posts, BM25Search)
    record = {
        "maker": "retrieve",
        "corpus": settings.corpus.name,
        "task": settings.task,
        "k": settings.k,
        "max_words": settings.max_words,
        "template": settings.template,
        "train_fraction": settings.train_fraction,
        "seed": settings.seed,
        **retriever.search.identity,
    }
    _write(settings, posts, record, lambda split: retriever.contexts(split, options))


def _write(
    settings: Namespace,
    posts: Mapping[Split, Sequence[Post]],
    record: Mapping[str, Any],
    make: Maker,
) -> None:
    """Make the contexts of all splits and write their files."""
    for target in context_targets(settings.out, posts):
        with file_lock(target.file), termination_interrupts():
            target.check(record, settings.append, settings.overwrite)
            contexts: dict[str, str] = {}
            for split in target.splits:
                contexts.update(make(split))
            target.write(contexts, record, settings.append)
        num_posts = sum(len(posts[split]) for split in target.splits)
        print_lines(f"{target.file}: {len(contexts)} of {num_posts} posts have a context")


def _posts(settings: Namespace) -> dict[Split, list[Post]]:
    """Return the posts that contexts are made for, by split.

    Raises:
        UsageError: The corpus lacks the split.
    """
    splits = settings.corpus.splits if settings.split is None else (settings.split,)
    if settings.split is not None and settings.split not in settings.corpus.splits:
        raise UsageError(f"split is {settings.split}: {settings.corpus.name} has no such split")
    return {split: settings.corpus.posts(split) for split in splits}


def _context_parser() -> OneLineParser:
    """Build the parser of ``mmie context``."""
    parser = OneLineParser(prog="mmie context", description="Make text context for posts.")
    subcommands = parser.add_subcommands(dest="subcommand")
    subcommands.add_subcommand(
        "retrieve", _retrieve_parser(), help="Similar training posts with their labels in words."
    )
    return parser


def _retrieve_parser() -> OneLineParser:
    """Build the parser of ``mmie context retrieve``."""
    parser = OneLineParser(
        description="Write the most similar training posts, with their labels in words."
    )
    _add_common_options(parser)
    parser.add_argument("--k", type=PositiveInt, default=3, help="Most retrieved texts of a post.")
    parser.add_argument(
        "--max_words", type=PositiveInt, default=100, help="Most words of a context."
    )
    parser.add_argument(
        "--template",
        type=str,
        default=TEMPLATE,
        help="Form of a retrieved text, with {text} and {labels}.",
    )
    parser.add_argument(
        "--task", type=Task | None, default=None, help="Use the labels of ner or re alone."
    )
    parser.add_argument(
        "--train_fraction",
        type=float,
        default=1.0,
        help="Search in the training instances that data.train_fraction draws.",
    )
    parser.add_argument(
        "--seed", type=NonNegativeInt, default=1234, help="Seed of the fit that draws them."
    )
    return parser


def _add_common_options(parser: OneLineParser) -> None:
    """Add the options that all makers share."""
    parser.add_subclass_arguments(
        Corpus, "corpus", required=True, help="E.g. Twitter2017 --corpus.root data/twitter2017"
    )
    parser.add_argument(
        "--split", type=Split | None, default=None, help="Split; by default all of the corpus."
    )
    parser.add_argument(
        "--out",
        type=str,
        required=True,
        help="Context file to write, for data.context_file; {split} in it is replaced.",
    )
    parser.add_argument(
        "--append", action="store_true", help="Append to the contexts that the file holds."
    )
    parser.add_argument("--overwrite", action="store_true", help="Replace an existing file.")
