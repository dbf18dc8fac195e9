"""Checkpoints applied to one's own posts: entities from one, relations between them from another."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from mmie.checkpoints import CheckpointError, read_checkpoint, read_pretrained
from mmie.inference.frames import is_frame, read_frame, with_columns
from mmie.inference.pairs import plausible_pairs
from mmie.inference.predictor import Precision, Predictor
from mmie.inference.reading import CropSource, ReadPost, ViewFormat, read_post
from mmie.types import NO_RELATION, Entity, Extraction, Mention, Post, Prediction, Triple
from mmie.utils.devices import resolve_device

MAX_PAIRS = 400
"""Pairs of entities of one post that are asked about: those of 20 entities."""
AGAINST_THE_ORDER = 7 / 3
"""How many times as probable a relation must be against the order of the text as along it, if it is told of a pair both
ways. Corpora annotate a pair one way, so a method has never seen that the other way is wrong; in MNRE's training split
71 % of the relations between entities of one type go along the text, in the demo corpus all."""


class Extractor:
    """Finds entities, relations, or both, in posts.

    Alone, an NER method finds entities, and an RE method answers for the ``relations`` that a post asks about (their
    labels do not count), or else for all plausible pairs of its ``entities``. Together (`load_pair`), the pairs are
    those of the entities found. A pair is asked about in both directions; if both get the same label, the one in the
    order of the text stays, unless the other is much more probable (`AGAINST_THE_ORDER`), or the post itself asks about
    both.

    Results come in the order of the posts. A picture that cannot be read is left out, and said so in
    `Extraction.problems`; so is a text without words, or one that is longer than the method reads.

    Args:
        ner: Finds entities; None takes those of the posts.
        re: Finds relations; None finds none.
        cropper: Cuts object crops out of the pictures of posts that bring none; None shows the methods the whole
            picture alone.
        window: Posts that are read, sorted by length and computed together; the next ones are read meanwhile, and no
            more are held.
        workers: Threads that decode pictures; None takes one per core, 8 at most.

    Raises:
        ValueError: There is neither ``ner`` nor ``re``.
    """

    def __init__(
        self,
        ner: Predictor | None = None,
        re: Predictor | None = None,
        cropper: CropSource | None = None,
        window: int = 256,
        workers: int | None = None,
    ) -> None:
        if ner is None and re is None:
            raise ValueError("an Extractor needs a method for entities, one for relations, or both")
        self.ner, self.re = ner, re
        self.cropper = cropper
        self.window = window
        self.workers = workers or min(8, os.cpu_count() or 1)

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path,
        device: str = "auto",
        precision: Precision = "auto",
        batch_size: int = 32,
        **options: Any,
    ) -> Self:
        """A checkpoint of either task.

        Args:
            path: File that a fit wrote, or folder that `mmie.export.pretrained.save_pretrained` wrote.
            device: ``auto`` takes a GPU if there is one; else what torch calls a device.
            precision: ``auto`` is bfloat16 on a GPU and float32 elsewhere.
            batch_size: Posts that are computed together.
            **options: ``cropper``, ``window`` and ``workers`` of the constructor.

        Raises:
            CheckpointError: The file is no checkpoint, or its method is not known here.
            DeviceError: There is no such device.
        """
        predictor = _load(path, resolve_device(device), precision=precision, batch_size=batch_size)
        return cls._of(predictor, **options)

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path,
        revision: str | None = None,
        device: str = "auto",
        precision: Precision = "auto",
        batch_size: int = 32,
        **options: Any,
    ) -> Self:
        """A folder that `mmie.export.pretrained.save_pretrained` wrote, here or on the Hugging Face hub.

        Args:
            source: The folder, or ``owner/name`` on the hub.
            revision: Branch, tag or commit there.
            device: See `from_checkpoint`; so are ``precision``, ``batch_size`` and ``options``.
            precision: As there.
            batch_size: As there.
            **options: As there.

        Raises:
            CheckpointError: There is no such folder or repository, or it holds something else.
            DeviceError: There is no such device.
        """
        checkpoint = read_pretrained(source, revision)
        predictor = Predictor.from_checkpoint(
            checkpoint, resolve_device(device), precision=precision, batch_size=batch_size
        )
        return cls._of(predictor, **options)

    @classmethod
    def _of(cls, predictor: Predictor, **options: Any) -> Self:
        """A method of either task."""
        return (
            cls(None, predictor, **options)
            if predictor.method.task.asks_pairs
            else cls(predictor, **options)
        )

    def extract(self, posts: Iterable[Post[Any]]) -> list[Extraction]:
        """What is found in each post, in their order.

        Args:
            posts: Posts, or a pandas frame with the columns ``text`` and ``image``; see `extract_frame`.

        Raises:
            PostError: Something is no post, or its words, entities or relations do not fit its text.
        """
        return list(self.stream(posts))

    def stream(self, posts: Iterable[Post[Any]]) -> Iterator[Extraction]:
        """The same, of posts without end: two windows of them are held at a time.

        The posts' places, which name those without an id, are counted from 0.
        """
        numbered = enumerate(read_frame(posts, "text", "image") if is_frame(posts) else posts)
        with ThreadPoolExecutor(self.workers) as pool:

            def read_ahead() -> Callable[[], list[ReadPost]]:
                window = list(islice(numbered, self.window))
                reading = pool.map(
                    lambda item: read_post(item[1], item[0], self.formats, self.cropper), window
                )
                return lambda: list(reading)

            ahead = read_ahead()
            while reads := ahead():
                ahead = read_ahead()
                yield from self._to_prediction(reads)

    def extract_frame(self, frame: Any, text: str = "text", image: str | None = "image") -> Any:
        """A pandas frame of posts with two columns more: ``entities`` and ``relations``, lists of dicts.

        Args:
            frame: A row a post, of any index.
            text: Column of the texts.
            image: Column of the pictures, in any form that `Post` takes; a missing value is no picture, and None is no
                column.

        Returns:
            A copy of the frame; its columns hold what `to_json` says of entities and relations.

        Raises:
            PostError: There is no such column.
        """
        return with_columns(frame, self.extract(read_frame(frame, text, image)))

    @property
    def formats(self) -> list[ViewFormat]:
        """How the methods see pictures; empty if they look at none."""
        forms = [predictor.format for predictor in (self.ner, self.re) if predictor is not None]
        return list(dict.fromkeys(form for form in forms if form.num_views))

    def _to_prediction(self, reads: list[ReadPost]) -> list[Extraction]:
        """What is found in the posts of a window."""
        kept: dict[str, Tensor] = {}
        if self.ner is not None:
            found = [_sole(predictions) for predictions in self.ner.predict(reads, kept)]
        else:
            found = [Prediction(read.post.id, read.post.entities) for read in reads]
        said: list[list[Prediction]] = [[] for _ in reads]
        if self.re is not None:
            asked = [
                self._ask(read, prediction.entities)
                for read, prediction in zip(reads, found, strict=True)
            ]
            said = self.re.predict(asked, kept)
        return [
            _extraction(read, prediction, relations, self.ner is None and bool(read.post.relations))
            for read, prediction, relations in zip(reads, found, said, strict=True)
        ]

    def _ask(self, read: ReadPost, entities: Sequence[Entity]) -> ReadPost:
        """The post with the relations to be asked about."""
        assert self.re is not None
        post = read.post
        asked, count = post.relations, len(post.relations)
        if self.ner is not None or not asked:
            asked, count = plausible_pairs(entities, self.re.schema.labels, MAX_PAIRS)
        if count > MAX_PAIRS:
            read.problems.append(
                f"relations: only {MAX_PAIRS} of {count} pairs of entities were asked about"
            )
        return replace(read, post=replace(post, relations=asked[:MAX_PAIRS]))


def load_pair(
    ner: str | Path,
    re: str | Path,
    device: str = "auto",
    precision: Precision = "auto",
    batch_size: int = 32,
    **options: Any,
) -> Extractor:
    """Entities from one checkpoint, relations between them from another: triples.

    Args:
        ner: Checkpoint of a method that finds entities.
        re: Checkpoint of a method that finds relations.
        device: See `Extractor.from_checkpoint`; so are ``precision`` and ``batch_size``.
        precision: As there.
        batch_size: As there.
        **options: ``cropper``, ``window`` and ``workers`` of `Extractor`.

    Raises:
        CheckpointError: A file is no checkpoint, or is one of the other task.
        DeviceError: There is no such device.
    """
    place = resolve_device(device)
    loaded: list[Predictor] = []
    for task, path in (("ner", ner), ("re", re)):
        loaded.append(_load(path, place, precision=precision, batch_size=batch_size))
        if loaded[-1].schema.task != task:
            raise CheckpointError(
                f"'{path}' is of the task {loaded[-1].schema.task}: expected one of {task}"
            )
    finder, classifier = loaded
    return Extractor(finder, classifier, **options)


def load_extractor(
    ner: str | Path | None = None, re: str | Path | None = None, **options: Any
) -> Extractor:
    """An extractor of one checkpoint or of two.

    Args:
        ner: Checkpoint of a method that finds entities, or None.
        re: Checkpoint of a method that finds relations, or None.
        **options: See `load_pair`.

    Raises:
        CheckpointError: Both are None, a file is no checkpoint, or is one of the other task.
        DeviceError: There is no such device.
    """
    if ner is not None and re is not None:
        return load_pair(ner, re, **options)
    path = re if ner is None else ner
    if path is None:
        raise CheckpointError(
            "no checkpoint is named: expected one for entities, one for relations, or both"
        )
    extractor = Extractor.from_checkpoint(path, **options)
    if (extractor.ner is None) != (ner is None):
        raise CheckpointError(
            f"'{path}' is of the other task: it finds {'relations' if re is None else 'entities'}"
        )
    return extractor


def _load(path: str | Path, device: torch.device, **options: Any) -> Predictor:
    """A checkpoint's method, ready to answer."""
    return Predictor.from_checkpoint(read_checkpoint(path), device, **options)


def _sole(predictions: Sequence[Prediction]) -> Prediction:
    """The answer of a post; that of one without words finds nothing."""
    return predictions[0] if predictions else Prediction("")


def _extraction(
    read: ReadPost, found: Prediction, said: Sequence[Prediction], is_asked: bool
) -> Extraction:
    """Answers in words: what was found in a post."""
    post = read.post
    certain = found.probabilities or (1.0,) * len(found.entities)
    mentions = {
        (entity.start, entity.end): _mention(post, entity, probability)
        for entity, probability in zip(found.entities, certain, strict=True)
    }
    triples = []
    for prediction in said:
        relation, probability = prediction.relations[0], prediction.probabilities[0]
        head, tail = (
            mentions.get((entity.start, entity.end)) or _mention(post, entity, 1.0)
            for entity in (relation.head, relation.tail)
        )
        if relation.label != NO_RELATION:
            triples.append(Triple(head, relation.label, tail, probability))
    relations = triples if is_asked else _one_way(triples)
    return Extraction(
        post.id,
        post.text or "",
        post.offsets,
        tuple(mentions.values()),
        tuple(relations),
        tuple(read.problems),
    )


def _one_way(triples: Sequence[Triple]) -> list[Triple]:
    """Of two triples that say the same in both directions, the one to keep."""
    best: dict[tuple[frozenset[Mention], str], Triple] = {}
    for triple in triples:
        key = frozenset((triple.head, triple.tail)), triple.label
        if key not in best or _weight(triple) > _weight(best[key]):
            best[key] = triple
    return list(best.values())


def _weight(triple: Triple) -> float:
    """What speaks for a triple, to be compared with that for the other direction."""
    return triple.probability / (1 if triple.head.start < triple.tail.start else AGAINST_THE_ORDER)


def _mention(post: Post, entity: Entity, probability: float) -> Mention:
    """An entity with its place in the text."""
    start, end = post.offsets[entity.start][0], post.offsets[entity.end - 1][1]
    return Mention((post.text or "")[start:end], entity.type, start, end, probability)
