"""Writing of a demo corpus with its pictures and a tiny text encoder."""

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mmie.data.demo.bounds import BOUNDS_FILE, DemoBounds, TextBound, text_bounds
from mmie.data.demo.contexts import with_contexts
from mmie.data.demo.posts import BOTH_SHARE, Draft, Sentences, draft_posts
from mmie.data.demo.scenes import Box, Scene, draw_scene
from mmie.types import SPLITS, Split
from mmie.utils.files import named_errors

_SMALL_SHARE = 0.3
"""Share of posts with a small scene."""
_MAX_CROPS = 3
_JPEG_QUALITY = 90


def write_demo(
    root: str | Path,
    seed: int = 1234,
    train: int = 960,
    valid: int = 240,
    test: int = 480,
    noise: float = 0.2,
    size: int = 64,
    context: bool = False,
    both: float = BOTH_SHARE,
) -> DemoBounds:
    """Write a demo corpus and a tiny text encoder that fits it.

    The same arguments give the same bytes. ``root`` holds ``{train,valid,test}.jsonl``,
    ``images/``, ``crops/``, ``bounds.json`` and ``encoder/`` (a config and a tokenizer, no
    weights). The id of a post ends in what decides it: ``7-picture`` (or ``7-context``),
    ``8-both``, ``9-noise``. The folder appears when it is complete and replaces an earlier demo
    corpus.

    Args:
        root: Folder to write.
        seed: Seed of everything random.
        train: Posts of the training split, a multiple of four.
        valid: Posts of the validation split, a multiple of four.
        test: Posts of the test split, a multiple of four.
        noise: Share of posts with an unrelated picture, which the text decides.
        size: Height and width of the pictures in pixels, 32 or more.
        context: Write the variant in which a caption of each post decides what the picture decides
            otherwise, and the picture decides nothing. Its words are the same.
        both: Share of posts that both text and picture decide. The picture alone decides the
            others, a share of 1 - ``noise`` - ``both``.

    Raises:
        CorpusError: ``root`` exists and is not a demo corpus.
        ValueError: A number is out of range.
    """
    root = Path(root).expanduser().resolve()
    replaces = root.exists()
    is_empty_folder = root.is_dir() and not any(root.iterdir())
    if replaces and not is_empty_folder:
        DemoBounds.read(root / BOUNDS_FILE)  # raises if the folder is not a demo corpus
    # atomic_folder refuses a folder that is not empty, and a second process that writes the same
    # corpus at the same time would fail at its end
    partial = root.with_name(f".{root.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        counts: dict[Split, int] = {"train": train, "valid": valid, "test": test}
        with named_errors(root, partial):
            bounds = _write_parts(partial, counts, seed, noise, size, context, both)
            _publish(partial, root, replaces)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return bounds


def _write_parts(
    folder: Path,
    counts: Mapping[Split, int],
    seed: int,
    noise: float,
    size: int,
    context: bool,
    both: float,
) -> DemoBounds:
    """Write all files of a corpus.

    Args:
        folder: A folder that does not exist yet.
        counts: Posts of each split.
        seed: Seed of everything random.
        noise: Share of posts with an unrelated picture.
        size: Height and width of the pictures in pixels.
        context: Whether contexts decide in place of pictures.
        both: Share of posts that both text and picture decide.
    """
    random = np.random.default_rng(seed)
    sentences = Sentences(random)
    drafts = {split: draft_posts(counts[split], noise, sentences, random, both) for split in SPLITS}
    if context:
        # captions have a generator of their own, so that the words stay those of the plain corpus
        captioner = np.random.default_rng([seed, 1])
        drafts = {split: with_contexts(drafts[split], captioner) for split in SPLITS}
    (folder / "images").mkdir(parents=True)
    (folder / "crops").mkdir()
    texts: list[str] = []
    bounds: list[TextBound] = []
    for split in SPLITS:
        _write_split(folder, split, drafts[split], size, random)
        texts += [draft.text for draft in drafts[split]]
        bounds += text_bounds(split, drafts[split])
    from mmie.data.demo.tiny_encoders import write_tiny_bert  # imports transformers for seconds

    write_tiny_bert(folder / "encoder", texts)
    demo_bounds = DemoBounds(seed, noise, size, tuple(bounds), context)
    demo_bounds.write(folder / BOUNDS_FILE)
    return demo_bounds


def _write_split(
    folder: Path, split: Split, drafts: Sequence[Draft], size: int, random: np.random.Generator
) -> None:
    """Write the posts of a split and their pictures."""
    lines: list[str] = []
    for index, draft in enumerate(drafts):
        record = _write_post(folder, split, index, draft, size, random)
        lines.append(json.dumps(record, ensure_ascii=False) + "\n")
    (folder / f"{split}.jsonl").write_text("".join(lines), encoding="utf-8")


def _write_post(
    folder: Path, split: Split, index: int, draft: Draft, size: int, random: np.random.Generator
) -> dict[str, Any]:
    """Write the pictures of a post and return its JSON object."""
    name = f"{index}-{draft.decided_by}"
    small = random.random() < _SMALL_SHARE
    scene = draw_scene(draft.scene, size, small, random)
    image = f"images/{split}-{name}.jpg"
    scene.picture.save(folder / image, quality=_JPEG_QUALITY)
    boxes = _crop_boxes(scene, small, random)
    record: dict[str, Any] = {
        "id": name,
        "words": list(draft.sentence.words),
        "image": image,
        "crops": _write_crops(folder, Path(image), boxes),
    }
    if draft.context is not None:
        record["context"] = draft.context
    head, tail = _span(draft.sentence.head), _span(draft.sentence.tail)
    record["entities"] = [{**head, "type": draft.type}, {**tail, "type": draft.type}]
    record["relations"] = [{"head": head, "tail": tail, "label": draft.relation}]
    return record


def _span(words: tuple[int, int]) -> dict[str, int]:
    """Convert the first and last (exclusive) word of an entity to JSON."""
    start, end = words
    return {"start": start, "end": end}


def _crop_boxes(scene: Scene, small: bool, random: np.random.Generator) -> list[Box]:
    """Draw the boxes that are cut out of a picture.

    Args:
        scene: The scene.
        small: Whether the scene is small.
        random: Source of random numbers.

    Returns:
        A small scene among up to two boxes of background, in random order; a large scene, or
        nothing.
    """
    if not small:
        return [scene.box] if random.random() < 0.5 else []
    distractors = scene.elsewhere()
    count = random.integers(_MAX_CROPS)
    chosen = random.permutation(len(distractors))[:count]
    boxes = [scene.box, *(distractors[index] for index in chosen)]
    return [boxes[index] for index in random.permutation(len(boxes))]


def _write_crops(folder: Path, image: Path, boxes: Iterable[Box]) -> list[str]:
    """Cut boxes out of the picture file, so that crops are exactly parts of it.

    Returns:
        Names of the crop files.
    """
    names: list[str] = []
    with Image.open(folder / image) as picture:
        for index, box in enumerate(boxes):
            name = f"crops/{image.stem}_{index}.png"
            picture.crop(box).save(folder / name)
            names.append(name)
    return names


def _publish(partial: Path, root: Path, replaces: bool) -> None:
    """Rename the finished folder, and remove the one that it replaces.

    Raises:
        CorpusError: Another process wrote something else to ``root`` in the meantime.
    """
    replaced = partial.with_suffix(".replaced")
    if replaces:
        root.rename(replaced)
    try:
        partial.rename(root)
    except OSError:
        # another rank of a distributed run, say, has just written the same corpus
        DemoBounds.read(root / BOUNDS_FILE)
    shutil.rmtree(replaced, ignore_errors=True)
