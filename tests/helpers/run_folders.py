"""Run folders written by hand, for tests of what reads them."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from helpers.command import write_jsonl


def entity(start: int, entity_type: str) -> dict[str, Any]:
    """Return the record of an entity of one word."""
    return {"start": start, "end": start + 1, "type": entity_type}


def prediction_line(
    name: str,
    gold: Sequence[dict[str, Any]],
    predicted: Sequence[dict[str, Any]],
    words: Sequence[str] = ("Jordan", "lands", "in", "Paris"),
    image: str | None = None,
) -> dict[str, Any]:
    """Return a line of ``predictions.jsonl``."""
    post = {"id": name, "words": list(words), "image": image}
    return {**post, "entities": predicted, "gold": {"entities": gold}}


GOLD = [entity(0, "PER"), entity(3, "LOC")]
GOOD_LINES = [
    prediction_line("1", GOLD, GOLD),
    prediction_line("2", GOLD, [entity(0, "PER")]),
]
BAD_LINES = [
    prediction_line("1", GOLD, [entity(0, "LOC")]),
    prediction_line("2", GOLD, [entity(0, "PER"), entity(1, "LOC")]),
]


FULL_METHODS: dict[str, dict[str, Any]] = {
    "mmie.methods.RAP": {"num_fusion_layers": 4},
    "mmie.methods.IMM": {"clip": "openai/clip-vit-base-patch32", "pooling": "cls"},
}
"""Arguments of full methods, where they are not the constructor's defaults."""


def build_config(
    corpus: str = "mmie.data.Twitter2017",
    root: str | Path = "corpus",
    seed: int = 1,
    method: str = "mmie.methods.RAP",
    task: str = "ner",
    train_fraction: float = 1.0,
    **init_args: Any,
) -> dict[str, Any]:
    """Return the configuration of a run; further arguments are those of the method."""
    full = {"text_lr": 0.1, **FULL_METHODS.get(method, {})}
    return {
        "seed_everything": seed,
        "trainer": {"max_epochs": 2, "precision": None},
        "model": {"class_path": method, "init_args": full | init_args},
        "data": {
            "corpus": {"class_path": corpus, "init_args": {"root": str(root)}},
            "task": task,
            "train_fraction": train_fraction,
            "pictures": "right",
            "num_workers": 0,
        },
    }


def fit_section(f1: Sequence[float] = (0.25, 0.75)) -> dict[str, Any]:
    """Return the section ``fit`` of ``metrics.json``, given the validation F1 of each epoch."""
    epochs = []
    for number, value in enumerate(f1):
        times = {"samples": 100, "seconds": 60.0, "train_seconds": 50.0}
        epochs.append({"epoch": number, **times, "val/f1": value})
    return {
        "parameters": 10,
        "trained_parameters": 4,
        "peak_memory_gib": 1.5,
        "best": max(epochs, key=lambda epoch: epoch["val/f1"]),
        "epochs": epochs,
    }


def write_run(
    folder: Path,
    lines: Iterable[dict[str, Any]] | None = tuple(GOOD_LINES),
    f1: float = 0.5,
    sections: dict[str, Any] | None = None,
    **settings: Any,
) -> Path:
    """Write a run folder as `mmie fit` and `mmie test` leave it.

    Args:
        folder: The run folder.
        lines: Lines of ``predictions.jsonl``; None writes no such file.
        f1: Every score of the test.
        sections: Further sections of ``metrics.json``.
        **settings: Arguments of `build_config`.
    """
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(build_config(**settings)))
    scores = {f"test/{name}": f1 for name in ("f1", "precision", "recall")}
    test = {**scores, "checkpoint": str(folder / "best.ckpt")}
    metrics = {"fit": fit_section(), "test": test, **(sections or {})}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    if lines is not None:
        write_jsonl(folder / "predictions.jsonl", lines)
    return folder


def write_picture_corpus(root: Path, pictures: Iterable[str], picture_file: Path) -> Path:
    """Write a corpus in JSON lines whose test posts have the ids 1, 2, ... and a picture each.

    Args:
        root: Folder of the corpus.
        pictures: File names of the pictures.
        picture_file: Picture that is copied under each name.
    """
    posts = []
    for number, name in enumerate(pictures, start=1):
        posts.append({"id": str(number), "words": ["a"], "image": name})
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(picture_file.read_bytes())
    for split in ("train", "test"):
        write_jsonl(root / f"{split}.jsonl", posts)
    return root


def change_metrics(folder: Path, **sections: Any) -> None:
    """Replace sections of ``metrics.json``; None removes one."""
    file = folder / "metrics.json"
    metrics = {**json.loads(file.read_text()), **sections, "sha256": None}
    remaining = {name: section for name, section in metrics.items() if section is not None}
    file.write_text(json.dumps(remaining))
