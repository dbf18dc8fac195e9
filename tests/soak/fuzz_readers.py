"""Coverage-guided fuzzing of readers and of picture decoding, with atheris.

Usage: ``fuzz_readers.py [-runs=N] [CORPUS]``, with the options of libFuzzer.

The first byte of an input chooses the reader of the rest. Any exception but the reader's own error
ends the run and leaves the input in a file ``crash-*``.
"""

import contextlib
import logging
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=["mmie.data", "mmie.inference", "mmie.grounding", "mmie.reports"]
):
    from mmie.data.corpora.contexts import read_contexts
    from mmie.data.corpora.crop_index import load_crop_index
    from mmie.data.corpora.jsonl import JsonlCorpus
    from mmie.data.corpora.mnre import MNRE
    from mmie.data.corpora.twitter import Twitter2017
    from mmie.data.pictures import PictureError, load_picture, to_view
    from mmie.data.sources import read_source
    from mmie.data.words import split_words
    from mmie.grounding.index import read_index
    from mmie.inference.formats.text import read_jsonl
    from mmie.runs import read_prediction_file
    from mmie.types import MmieError

import test_hostile_readers as cases
from helpers.hostile import check_post
from test_hostile_pictures import SOURCES

FOLDER = Path(tempfile.mkdtemp())


def fuzz_file(name: str, read: Callable[[Path], object]) -> Callable[[bytes], None]:
    """Return a target that writes a file and reads it."""

    def target(content: bytes) -> None:
        file = FOLDER / name
        file.write_bytes(content)
        with contextlib.suppress(MmieError):
            read(file)

    return target


def fuzz_corpus(corpus: type, name: str) -> Callable[[bytes], None]:
    """Return a target that reads the training split of a corpus and checks that no line is lost."""

    def read(file: Path) -> None:
        lenient = corpus(FOLDER, strict=False)
        posts = lenient.posts("train")
        for post in posts:
            check_post(post, FOLDER)
        cases.check_strict(corpus(FOLDER), posts, lenient.skipped["train"])

    return fuzz_file(name, read)


def fuzz_picture(content: bytes) -> None:
    """Decode a picture and convert it to a view."""
    with contextlib.suppress(PictureError):
        to_view(load_picture(content, max_pixels=1_000_000), 16)


def fuzz_words(content: bytes) -> None:
    """Split a text into words and check their offsets."""
    text = content.decode(errors="surrogateescape")
    assert all(text[start:end] == word for word, start, end in split_words(text))


TARGETS: tuple[tuple[Callable[[bytes], None], bytes], ...] = (
    (fuzz_corpus(JsonlCorpus, "train.jsonl"), cases.json_bytes(cases.POST, cases.TEXT_POST)),
    (fuzz_corpus(MNRE, "mnre_train.txt"), repr(cases.INSTANCE).encode()),
    (fuzz_corpus(Twitter2017, "train.txt"), cases.TWEETS.encode()),
    (fuzz_file("posts.jsonl", cases.read_posts), cases.json_bytes(cases.TEXT_POST)),
    (fuzz_file("posts.csv", cases.read_posts), cases.TABLE),
    (
        fuzz_file("posts.tsv", lambda file: list(read_source(str(file)))),
        cases.TABLE.replace(b",", b"\t"),
    ),
    (fuzz_file("contexts.json", read_contexts), b'{"1": "a jet"}'),
    (
        fuzz_file("extractions.jsonl", lambda file: list(read_jsonl(file))),
        cases.json_bytes(cases.EXTRACTION),
    ),
    (fuzz_file("index.jsonl", read_index), cases.json_bytes(cases.CROP_ENTRY)),
    (fuzz_file("predictions.jsonl", read_prediction_file), cases.json_bytes(*cases.PREDICTIONS)),
    (fuzz_file("index.pth", lambda file: load_crop_index([file])), cases.pickled({"1": ["a.jpg"]})),
    (fuzz_words, "It's @ann! 東京 https://t.co/a1".encode()),
    *((fuzz_picture, content) for content in SOURCES.values()),
)
"""Targets, each with a valid input."""


def run_one(data: bytes) -> None:
    """Pass an input to the target that its first byte chooses."""
    if data:
        target, _ = TARGETS[data[0] % len(TARGETS)]
        target(data[1:])


def main() -> None:
    """Fuzz from a valid input for every target."""
    warnings.simplefilter("ignore")
    logging.disable()
    seeds = Path(tempfile.mkdtemp())
    for index, (_, valid) in enumerate(TARGETS):
        (seeds / str(index)).write_bytes(bytes([index]) + valid)
    atheris.Setup([*sys.argv, str(seeds), "-timeout=60", "-rss_limit_mb=4096"], run_one)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
