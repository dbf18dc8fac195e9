"""The demo corpus: real files in the package's own layout, in which the picture decides.

`mmie.data.demo.posts` says what the posts are. Because the posts that the picture decides come in groups of four with
the same words and four different labels, the best F1 that any function of the words alone can reach is known exactly.
With a share t of text-decided gold items (entities or relations), such a function gets those right and either leaves
the others out or gets one in four of them right:

    F1 = max(2t / (1 + t), t + (1 - t) / 4)

F1 is monotonic in how many are left out, so nothing in between is better. Words and picture together reach 1.

With ``context`` a caption takes the picture's place (`mmie.data.demo.contexts`): the bounds are the same, words and
context together reach 1, and words and picture no more than the words.
"""

import json
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from rich.table import Table

from mmie.data.corpora.base import CorpusError
from mmie.data.corpora.jsonl import JsonlCorpus
from mmie.data.demo.contexts import with_contexts
from mmie.data.demo.posts import GROUP, Draft, Sentences, draft_posts
from mmie.data.demo.scenes import Box, Scene, draw_scene
from mmie.data.demo.tiny_encoders import write_tiny_bert
from mmie.types import SPLITS, Split, Task

_BOUNDS_FILE = "bounds.json"
_LAYOUT = "mmie demo corpus"
_SMALL_SHARE = 0.3
_MAX_CROPS = 3
_JPEG_QUALITY = 90


@dataclass(frozen=True, slots=True)
class TextBound:
    """How far the words alone can lead on one task and split.

    Attributes:
        task: The task.
        split: The split.
        decided: Gold entities, or relations but ``None``, that the text decides.
        undecided: Those that only the picture decides, or the context in the variant with contexts.
    """

    task: Task
    split: Split
    decided: int
    undecided: int

    @property
    def score(self) -> float:
        """The best micro F1 that any function of the words can reach."""
        share = self.decided / (self.decided + self.undecided)
        return max(2 * share / (1 + share), share + (1 - share) / GROUP)


@dataclass(frozen=True, slots=True)
class DemoBounds:
    """How a demo corpus was made, and its text-only bounds.

    Attributes:
        seed: Seed it was drawn with.
        noise: Share of posts with an unrelated picture that was asked for.
        size: Height and width of its pictures in pixels.
        bounds: One bound per task and split.
        context: Whether contexts decide in place of pictures.
    """

    seed: int
    noise: float
    size: int
    bounds: tuple[TextBound, ...]
    context: bool = False

    def score(self, task: Task, split: Split = "test") -> float:
        """The best micro F1 that any function of the words can reach on ``split``."""
        return next(
            bound.score for bound in self.bounds if (bound.task, bound.split) == (task, split)
        )

    def write(self, file: Path) -> None:
        """Write as JSON, scores included for readers of the file."""
        bounds = [{**asdict(bound), "score": bound.score} for bound in self.bounds]
        record = {"layout": _LAYOUT, **asdict(self), "bounds": bounds}
        if not self.context:
            del record["context"]
        file.write_text(json.dumps(record, indent=2) + "\n")

    @classmethod
    def read(cls, file: Path) -> "DemoBounds":
        """Read what `write` wrote.

        Raises:
            CorpusError: The file does not exist or holds something else.
        """
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
            _expect_layout(found["layout"])
            bounds = tuple(
                TextBound(b["task"], b["split"], b["decided"], b["undecided"])
                for b in found["bounds"]
            )
            return cls(
                found["seed"], found["noise"], found["size"], bounds, bool(found.get("context"))
            )
        except (OSError, ValueError, KeyError, TypeError):
            raise CorpusError(
                f"{file.parent} is no demo corpus: expected a {file.name} as `mmie corpus demo` writes it; "
                "name another folder"
            ) from None


class DemoCorpus(JsonlCorpus):
    """The demo corpus; written with the default settings of `write_demo` where the folder does not exist yet.

    Args:
        root: Folder of the corpus.
        strict: As for `JsonlCorpus`.
        max_missing: As for `JsonlCorpus`.
        entity_types: As for `JsonlCorpus`.
        relation_labels: As for `JsonlCorpus`.

    Raises:
        CorpusError: The folder exists and holds something else.
    """

    def __init__(
        self,
        root: str | Path = "demo",
        strict: bool = True,
        max_missing: float = 0.05,
        entity_types: list[str] | None = None,
        relation_labels: list[str] | None = None,
    ) -> None:
        folder = Path(root).expanduser()
        self.bounds = (
            DemoBounds.read(folder / _BOUNDS_FILE) if folder.exists() else write_demo(folder)
        )
        super().__init__(root, strict, max_missing, entity_types, relation_labels)


def write_demo(
    root: str | Path,
    seed: int = 1234,
    train: int = 960,
    valid: int = 240,
    test: int = 480,
    noise: float = 0.2,
    size: int = 64,
    context: bool = False,
) -> DemoBounds:
    """Write a demo corpus and a tiny text encoder that fits it; the same arguments give the same bytes.

    ``root`` holds ``{train,valid,test}.jsonl``, ``images/``, ``crops/``, ``bounds.json`` and ``encoder/`` (a config and
    a tokenizer, no weights). The id of a post ends in what decides it: ``7-picture`` (or ``7-context``), ``8-both``,
    ``9-noise``. The folder appears when it is complete; a demo corpus that was there is replaced.

    Args:
        root: Folder to write.
        seed: Seed of everything random.
        train: Posts of the training split, a multiple of four.
        valid: Posts of the validation split, a multiple of four.
        test: Posts of the test split, a multiple of four.
        noise: Share of posts with an unrelated picture, 0 to 0.8.
        size: Height and width of the pictures in pixels, 32 or more.
        context: Write the variant in which a caption beside each post decides what else the picture does, and the
            picture nothing; its words are the same.

    Raises:
        CorpusError: ``root`` exists and is no demo corpus.
        ValueError: A number is out of range.
    """
    root = Path(root).expanduser().resolve()
    replaces = root.exists()
    if replaces and not (root.is_dir() and not any(root.iterdir())):
        DemoBounds.read(root / _BOUNDS_FILE)
    partial = root.with_name(f".{root.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        counts: dict[Split, int] = {"train": train, "valid": valid, "test": test}
        bounds = _write_parts(partial, counts, seed, noise, size, context)
        _publish(partial, root, replaces)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return bounds


def render_bounds(bounds: DemoBounds) -> Table:
    """A table of what the words alone can reach, per task and split."""
    table = Table(title=f"Demo corpus, seed {bounds.seed}: best possible F1")
    whole = f"text and {'context' if bounds.context else 'picture'}"
    for heading in ("task", "split", "gold", "text decides", "text only", whole):
        table.add_column(heading, justify="left" if heading in ("task", "split") else "right")
    for bound in bounds.bounds:
        gold = bound.decided + bound.undecided
        table.add_row(
            bound.task, bound.split, str(gold), str(bound.decided), f"{bound.score:.3f}", "1.000"
        )
    return table


def _write_parts(
    folder: Path, counts: dict[Split, int], seed: int, noise: float, size: int, context: bool
) -> DemoBounds:
    """Write everything into a folder that does not exist yet."""
    random = np.random.default_rng(seed)
    sentences = Sentences(random)
    drafts = {split: draft_posts(counts[split], noise, sentences, random) for split in SPLITS}
    if context:
        captioner = np.random.default_rng(
            [seed, 1]
        )  # of its own, so that the words stay those of the plain corpus
        drafts = {split: with_contexts(drafts[split], captioner) for split in SPLITS}
    for part in ("images", "crops"):
        (folder / part).mkdir(parents=True)
    for split in SPLITS:
        records = [
            _write_post(folder, split, i, draft, size, random)
            for i, draft in enumerate(drafts[split])
        ]
        lines = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        (folder / f"{split}.jsonl").write_text(lines, encoding="utf-8")
    texts = (
        " ".join([*draft.sentence.words, draft.context or ""])
        for split in SPLITS
        for draft in drafts[split]
    )
    write_tiny_bert(folder / "encoder", texts)
    found = tuple(bound for split in SPLITS for bound in _bounds(split, drafts[split]))
    bounds = DemoBounds(seed, noise, size, found, context)
    bounds.write(folder / _BOUNDS_FILE)
    return bounds


def _write_post(
    folder: Path, split: Split, number: int, draft: Draft, size: int, random: np.random.Generator
) -> dict[str, Any]:
    """Write the pictures of a post; gives its record."""
    name, sentence = f"{number}-{draft.decided_by}", draft.sentence
    small = random.random() < _SMALL_SHARE
    scene = draw_scene(draft.scene, size, small, random)
    image = f"images/{split}-{name}.jpg"
    scene.picture.save(folder / image, quality=_JPEG_QUALITY)
    crops = _write_crops(folder, Path(image), _crop_boxes(scene, small, random))
    head, tail = ({"start": start, "end": end} for start, end in (sentence.head, sentence.tail))
    return {
        "id": name,
        "words": list(sentence.words),
        "image": image,
        "crops": crops,
        **({} if draft.context is None else {"context": draft.context}),
        "entities": [{**span, "type": draft.type} for span in (head, tail)],
        "relations": [{"head": head, "tail": tail, "label": draft.relation}],
    }


def _crop_boxes(scene: Scene, small: bool, random: np.random.Generator) -> list[Box]:
    """A small scene among up to two boxes of background, in any order; a large scene, or nothing."""
    if not small:
        return [scene.box] if random.random() < 0.5 else []
    distractors = scene.elsewhere()
    count = random.integers(_MAX_CROPS)
    boxes = [
        scene.box,
        *(distractors[place] for place in random.permutation(len(distractors))[:count]),
    ]
    return [boxes[place] for place in random.permutation(len(boxes))]


def _write_crops(folder: Path, image: Path, boxes: Iterable[Box]) -> list[str]:
    """Cut the boxes out of the picture as it was written, so that crops are exactly parts of it."""
    names = []
    with Image.open(folder / image) as picture:
        for place, box in enumerate(boxes):
            names.append(f"crops/{image.stem}_{place}.png")
            picture.crop(box).save(folder / names[-1])
    return names


def _bounds(split: Split, drafts: Sequence[Draft]) -> list[TextBound]:
    """The bounds of both tasks on one split."""
    by_text = sum(draft.is_text_decided for draft in drafts)
    related_by_text = sum(draft.is_text_decided and draft.related for draft in drafts)
    return [
        TextBound("ner", split, 2 * by_text, 2 * (len(drafts) - by_text)),
        TextBound("re", split, related_by_text, len(drafts) - by_text),
    ]


def _publish(partial: Path, root: Path, replaces: bool) -> None:
    """Give the finished folder its name."""
    replaced = partial.with_suffix(".replaced")
    if replaces:
        root.rename(replaced)
    try:
        partial.rename(root)
    except (
        OSError
    ):  # another process has just written the same corpus, as the ranks of a distributed run may
        DemoBounds.read(root / _BOUNDS_FILE)
    shutil.rmtree(replaced, ignore_errors=True)


def _expect_layout(layout: object) -> None:
    """Refuse a JSON file that something else wrote.

    Raises:
        ValueError: It is not this layout.
    """
    if layout != _LAYOUT:
        raise ValueError(f"expected {_LAYOUT!r}, found {layout!r}")
