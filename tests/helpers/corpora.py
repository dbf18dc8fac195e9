"""Corpora for tests: the published ones, small files in their layouts, and own ones."""

import io
import json
from functools import cache
from pathlib import Path

import pytest
from PIL import Image

from helpers.paths import SHARED_DATA
from mmie.data.corpora.base import Corpus
from mmie.data.corpora.jsonl import JsonlCorpus
from mmie.data.corpora.mnre import MNRE
from mmie.data.corpora.twitter import Twitter2017
from mmie.utils.terminal import PlainConsole

TWEETS = (
    "IMGID:7\nJordan\tB-PER\nlands\tO\n\n"
    "IMGID:8\nSt\tI-LOC\nPaul\tI-LOC\nUN\tB-ORG\nCup\tI-OTHER\n\n"
)
"""Two posts in the layout of the Twitter corpora."""


def published_folder(name: str) -> Path:
    """The folder of a published corpus; skips the test where its texts are absent."""
    if not (SHARED_DATA / name).is_dir():
        pytest.skip(f"the texts of {name} are not at hand")
    return SHARED_DATA / name


@cache
def published_corpus(corpus_class: type[Corpus]) -> Corpus:
    """A published corpus; skips the test where its texts are absent."""
    return corpus_class(published_folder(corpus_class.__name__.lower()))


def write_file(file: Path, text: str | bytes) -> Path:
    """Write a file, its folders included, and return it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def write_twitter(folder: Path, text: str | bytes = TWEETS, strict: bool = True) -> Twitter2017:
    """A corpus in ``folder/root`` with a training split of this text."""
    write_file(folder / "root" / "train.txt", text)
    return Twitter2017(folder / "root", strict=strict)


def mnre_line(**changes: object) -> str:
    """A line in the layout of MNRE."""
    record = {
        "token": ["Ann", "of", "New", "York"],
        "h": {"name": "Ann", "pos": [0, 1]},
        "t": {"name": "New York", "pos": [2, 4]},
        "img_id": "a.jpg",
        "relation": "/per/loc/place_of_residence",
    }
    return repr({**record, **changes}) + "\n"


def write_mnre(folder: Path, text: str | bytes, strict: bool = True) -> MNRE:
    """A corpus with a training split of this text."""
    write_file(folder / "txt" / "ours_train.txt", text)
    return MNRE(folder, strict=strict)


def post_record(number: int, split: str, **changes: object) -> dict:
    """A post in the package's own layout, with its own words and picture."""
    name = f"{split}{number}"
    record = {"id": name, "words": [split, str(number)], "image": f"{name}.png"}
    return {**record, "entities": [{"start": 0, "end": 1, "type": "PER"}], **changes}


def write_own_corpus(folder: Path, **splits: list[dict]) -> JsonlCorpus:
    """A corpus of records by split, with a picture of its own colour for every name."""
    folder.mkdir(exist_ok=True)
    colour = 0
    for split, records in splits.items():
        lines = [json.dumps(record) + "\n" for record in records]
        (folder / f"{split}.jsonl").write_text("".join(lines))
        for record in records:
            for name in [record["image"], *record.get("crops", [])]:
                if name is not None:
                    colour += 1
                    Image.new("RGB", (8, 8), (colour, 9, 9)).save(folder / name)
    return JsonlCorpus(folder, strict=False)


def render(renderable: object) -> str:
    """Render a table as the command prints it on a wide terminal."""
    stream = io.StringIO()
    PlainConsole(width=200, file=stream).print(renderable)
    return stream.getvalue()
