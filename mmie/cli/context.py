"""``mmie context``: text context for the posts of a corpus."""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from jsonargparse.typing import (
    ClosedUnitInterval,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)

from mmie.cli.parsing import OneLineParser, UsageError, usage_errors
from mmie.context.answers import AnswerCache
from mmie.context.endpoint import Endpoint, RequestLimits
from mmie.context.generation import (
    GenerationSettings,
    Generator,
    generate_contexts,
    read_template,
)
from mmie.context.ocr import PictureReader, read_pictures
from mmie.context.retrieval import TEMPLATE, RetrievalOptions, Retriever
from mmie.context.search import BM25Search, TextSearch
from mmie.context.training_texts import labelled_posts
from mmie.context.writing import context_targets
from mmie.data import Corpus
from mmie.types import Post, Split, Task
from mmie.utils.devices import resolve_device
from mmie.utils.locks import file_lock
from mmie.utils.signals import termination_interrupts
from mmie.utils.terminal import print_lines

Maker = Callable[[Split], Mapping[str, str]]
"""Function that returns the contexts of a split by post id."""
_MAX_CHARACTERS = 2000
"""Most characters of a text in a cache."""


def context_command(arguments: Sequence[str]) -> None:
    """Run ``mmie context retrieve``, ``ocr`` or ``generate``.

    Raises:
        UsageError: An option is wrong.
        ContextError: Contexts cannot be made, or a file cannot be read.
        CorpusError: A post is malformed, or a context file to append to is.
        MissingPackageError: A package of an extra is not installed.
        WeightsUnavailable: An encoder or a model cannot be loaded.
        DeviceError: The machine has no such device.
        LockError: Another process writes the same file.
        OSError: A file cannot be written.
    """
    parser = _context_parser()
    settings = parser.parse_args(list(arguments))
    with usage_errors():
        chosen = parser.instantiate(settings)[settings.subcommand]
    if settings.subcommand == "retrieve":
        _retrieve(chosen)
    elif settings.subcommand == "ocr":
        _read_pictures(chosen)
    else:
        _generate(chosen)


def _retrieve(settings: Namespace) -> None:
    """Write similar training posts with their labels as contexts."""
    options = RetrievalOptions(settings.k, settings.max_words, settings.template)
    posts = _posts(settings)
    labelled = labelled_posts(
        settings.corpus, settings.task, settings.train_fraction, settings.seed
    )

    def build_search(texts: Sequence[str]) -> TextSearch:
        """Build the search that the options name."""
        if settings.encoder is None:
            return BM25Search(texts)
        from mmie.context.vectors import VectorSearch  # imports torch

        return VectorSearch(texts, settings.encoder, resolve_device(settings.device))

    retriever = Retriever(labelled, posts, build_search)
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


def _read_pictures(settings: Namespace) -> None:
    """Write the text in the pictures of posts as contexts."""
    posts = _posts(settings)
    reader = PictureReader(settings.min_confidence)
    cache_file = settings.cache or _beside(settings.out, "ocr.jsonl")
    with file_lock(cache_file):
        cache = AnswerCache(cache_file, reader.identity, _MAX_CHARACTERS)
        _write(
            settings,
            posts,
            reader.identity,
            lambda split: read_pictures(posts[split], reader, cache),
        )


def _generate(settings: Namespace) -> None:
    """Write the answers of a model about posts as contexts."""
    posts = _posts(settings)
    template = read_template(settings.prompt)
    folder = Path(settings.model).expanduser()
    is_local = settings.endpoint is None and folder.is_dir()
    name = settings.model
    if is_local:
        from mmie.context.local_model import local_model_name  # imports torch

        name = local_model_name(folder)
    wanted = GenerationSettings(
        name, template, settings.max_tokens, settings.temperature, settings.max_side
    )
    cache_file = settings.cache or _beside(settings.out, "answers.jsonl")
    with file_lock(cache_file):
        cache = AnswerCache(cache_file, wanted.to_json(), settings.max_characters)
        generator = _generator(settings, wanted, folder if is_local else None)
        record = {**wanted.to_json(), "max_characters": settings.max_characters}
        _write(
            settings,
            posts,
            record,
            lambda split: generate_contexts(posts[split], wanted, cache, generator),
        )
        if isinstance(generator, Endpoint):
            print_lines(f"{cache_file}: {generator.num_requests} requests were sent")


def _generator(
    settings: Namespace, wanted: GenerationSettings, folder: Path | None
) -> Generator | None:
    """Return the model that the options name, or None to use the cache alone.

    Raises:
        UsageError: The environment lacks the key of an endpoint on another machine.
        ContextError: The endpoint's URL is refused, or the model reads no pictures.
        WeightsUnavailable: The folder holds no generative model.
        DeviceError: The machine has no such device.
        MissingPackageError: The client of endpoints is not installed.
    """
    if folder is not None:
        from mmie.context.local_model import LocalModel  # imports torch

        return LocalModel(folder, wanted, resolve_device(settings.device))
    if settings.endpoint is None:
        return None
    limits = RequestLimits(
        settings.max_requests, settings.requests_per_minute, settings.retries, settings.timeout
    )
    key = os.environ.get(settings.key_variable, "")
    endpoint = Endpoint(settings.endpoint, wanted, key, limits)
    if not key and not endpoint.is_local:
        raise UsageError(
            f"the environment has no {settings.key_variable}: put the endpoint's key there, or "
            "name another variable by --key_variable"
        )
    return endpoint


def _write(
    settings: Namespace,
    posts: Mapping[Split, Sequence[Post]],
    record: Mapping[str, Any],
    make: Maker,
) -> None:
    """Make the contexts of all splits, then write their files.

    An interruption leaves no file, so that the same command can be given again.
    """
    targets = context_targets(settings.out, posts)
    with ExitStack() as locks, termination_interrupts():
        for target in targets:
            locks.enter_context(file_lock(target.file))
            target.check(record, settings.append, settings.overwrite)
        contexts = {split: make(split) for split in posts}
        for target in targets:
            new: dict[str, str] = {}
            for split in target.splits:
                new.update(contexts[split])
            joined = target.write(new, record, settings.append)
            num_posts = sum(len(posts[split]) for split in target.splits)
            print_lines(
                f"{target.file}: {len(new)} of {num_posts} posts have a new context, "
                f"{len(joined)} have one in all"
            )


def _posts(settings: Namespace) -> dict[Split, list[Post]]:
    """Return the posts that contexts are made for, by split.

    Raises:
        UsageError: The corpus lacks the split, or the options contradict each other.
    """
    if settings.append and settings.overwrite:
        raise UsageError("give either --append or --overwrite")
    splits = settings.corpus.splits
    if settings.split is None:
        return {split: settings.corpus.posts(split) for split in splits}
    if settings.split not in splits:
        raise UsageError(
            f"split is {settings.split}: {settings.corpus.name} has {', '.join(splits)}"
        )
    return {settings.split: settings.corpus.posts(settings.split)}


def _beside(out: str, name: str) -> Path:
    """Return the path of a file in the folder of the context files."""
    return Path(out).expanduser().parent / name


def _context_parser() -> OneLineParser:
    """Build the parser of ``mmie context``."""
    parser = OneLineParser(
        prog="mmie context",
        description="Make text context for the posts of a corpus, for data.context_file: similar "
        "training posts, text in pictures, or answers of models.",
    )
    commands = parser.add_subcommands()
    commands.add_subcommand(
        "retrieve", _retrieve_parser(), help="similar training posts with their labels in words"
    )
    commands.add_subcommand("ocr", _ocr_parser(), help="text in the pictures")
    commands.add_subcommand(
        "generate", _generate_parser(), help="captions or knowledge that a model writes"
    )
    return parser


def _retrieve_parser() -> OneLineParser:
    """Build the parser of ``mmie context retrieve``."""
    parser = OneLineParser(
        description="Write the most similar training posts, with their labels in words. No post "
        "receives its own labels, or those of a post with the same text or picture."
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
        "--encoder",
        type=str | None,
        default=None,
        help="Folder or hub name of a text encoder, to compare sentence vectors in place of BM25.",
    )
    _add_device_option(parser)
    parser.add_argument(
        "--task", type=Task | None, default=None, help="Use the labels of ner or re alone."
    )
    parser.add_argument(
        "--train_fraction",
        type=ClosedUnitInterval,
        default=1.0,
        help="Search in the training instances that data.train_fraction draws.",
    )
    parser.add_argument(
        "--seed", type=NonNegativeInt, default=1234, help="Seed of the fit that draws them."
    )
    return parser


def _ocr_parser() -> OneLineParser:
    """Build the parser of ``mmie context ocr``."""
    parser = OneLineParser(
        description="Write the text in the pictures in reading order, of each picture once."
    )
    _add_common_options(parser)
    parser.add_argument(
        "--min_confidence",
        type=ClosedUnitInterval,
        default=0.5,
        help="Least confidence of a line of text.",
    )
    _add_cache_option(parser, "ocr.jsonl")
    return parser


def _generate_parser() -> OneLineParser:
    """Build the parser of ``mmie context generate``."""
    parser = OneLineParser(
        description="Write the answers of a model about each post. Answers are kept in a cache, "
        "from which the same files are written again without the model."
    )
    _add_common_options(parser)
    parser.add_argument(
        "--model",
        type=str,
        required=True,
        help="Name of the endpoint's model, or folder of a generative model of transformers.",
    )
    parser.add_argument(
        "--prompt", type=Path, required=True, help="File of the prompt's template, with {text}."
    )
    parser.add_argument(
        "--endpoint",
        type=str | None,
        default=None,
        help="URL of an OpenAI-compatible endpoint, up to /v1. Without it and without a folder, "
        "the cache alone is used.",
    )
    parser.add_argument(
        "--key_variable",
        type=str,
        default="OPENAI_API_KEY",
        help="Environment variable that holds the endpoint's key.",
    )
    parser.add_argument(
        "--max_requests",
        type=PositiveInt | None,
        default=None,
        help="Most requests of this run, repetitions included.",
    )
    parser.add_argument(
        "--requests_per_minute", type=PositiveFloat | None, default=None, help="Most per minute."
    )
    parser.add_argument(
        "--retries",
        type=NonNegativeInt,
        default=4,
        help="Most repetitions of a request that failed for a passing reason.",
    )
    parser.add_argument(
        "--timeout", type=PositiveFloat, default=60.0, help="Seconds to wait for an answer."
    )
    parser.add_argument(
        "--max_tokens",
        type=PositiveInt | None,
        default=128,
        help="Most tokens of an answer; null leaves it to the endpoint.",
    )
    parser.add_argument(
        "--temperature",
        type=NonNegativeFloat | None,
        default=0.0,
        help="Temperature of sampling at an endpoint; null leaves it to the endpoint.",
    )
    parser.add_argument(
        "--max_side",
        type=NonNegativeInt,
        default=512,
        help="Longer side of the pictures that the model receives, in pixels; 0 for no pictures.",
    )
    parser.add_argument(
        "--max_characters",
        type=PositiveInt,
        default=_MAX_CHARACTERS,
        help="Most characters of an answer.",
    )
    _add_device_option(parser)
    _add_cache_option(parser, "answers.jsonl")
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
        help="Context file to write, with {split} in its path for a file for each split.",
    )
    parser.add_argument(
        "--append", action="store_true", help="Append to the contexts that the file holds."
    )
    parser.add_argument("--overwrite", action="store_true", help="Replace an existing file.")


def _add_device_option(parser: OneLineParser) -> None:
    """Add ``--device``."""
    parser.add_argument(
        "--device", type=str, default="auto", help="Device of a local model or encoder."
    )


def _add_cache_option(parser: OneLineParser, name: str) -> None:
    """Add ``--cache``.

    Args:
        parser: The parser.
        name: Name of the file beside the context files that is the default.
    """
    parser.add_argument(
        "--cache",
        type=Path | None,
        default=None,
        help=f"File that keeps the texts; by default {name} beside the context files.",
    )
