"""Extraction from posts: entities by one checkpoint, relations between them by another."""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Self, TypedDict, TypeVar, get_args

from typing_extensions import Unpack

from mmie.checkpoints import Checkpoint, CheckpointError, read_checkpoint, read_pretrained
from mmie.data.long_posts import LongPosts
from mmie.inference.frames import is_frame, read_frame, with_columns
from mmie.inference.long_posts import LongText, choose_near_pairs
from mmie.inference.pairs import plausible_pairs, typed_pairs
from mmie.inference.predictor import Precision, Predictor, WindowFeatures
from mmie.inference.reading import CropSource, ReadPost, ViewFormat, read_post
from mmie.inference.relation_types import (
    ANY,
    RelationTypes,
    RelationTypesError,
    find_relation_types,
)
from mmie.types import (
    NO_RELATION,
    Entity,
    Extraction,
    Mention,
    Post,
    Prediction,
    Relation,
    Task,
    Triple,
)
from mmie.utils.devices import resolve_device
from mmie.utils.prefetch import prefetch

_T = TypeVar("_T")

MAX_PAIRS = 400
"""Most pairs of entities of one post that are classified: those of 20 entities."""
REVERSED_ODDS = 7 / 3
"""Ratio of probabilities from which a relation against the order of the text is preferred to the
same relation along it, if both directions of a pair get the same label.

Corpora annotate a pair in one direction, so a method never learns that the other one is wrong. In
MNRE's training split 71 % of the relations between entities of one type go along the text, in the
demo corpus all.
"""


class ExtractorOptions(TypedDict, total=False):
    """Options of an extractor that is built from checkpoints.

    Attributes:
        device: ``auto`` is a GPU if there is one, else the CPU; or a device of torch.
        precision: ``auto`` is bfloat16 on a GPU and float32 elsewhere.
        batch_size: Posts, or pairs of entities, that are computed together; 32 by default.
        cropper: See `Extractor`.
        window: See `Extractor`.
        workers: See `Extractor`.
        long: See `Extractor`.
        min_probability: See `Extractor`.
        min_relation_probability: See `Extractor`.
        relation_types: ``any``, ``labels``, ``training`` or a JSON file: see `find_relation_types`.
        fast_jpeg: See `Extractor`.
    """

    device: str
    precision: Precision
    batch_size: int
    cropper: CropSource | None
    window: int
    workers: int | None
    long: LongPosts
    min_probability: float
    min_relation_probability: float | None
    relation_types: str | Path
    fast_jpeg: bool


class Extractor:
    """Finds entities, relations, or both, in posts.

    An NER method alone finds entities. An RE method alone classifies the ``relations`` of a post
    (their labels do not count) or else all plausible pairs of its ``entities``. Together
    (`load_pair`), the pairs are those of the entities found. A pair is classified in both
    directions; if both get the same label, the one along the text stays, unless the other is much
    more probable (`REVERSED_ODDS`) or the post itself names both.

    Results come in the order of the posts. A picture that cannot be read is left out and named in
    `Extraction.problems`, like a text without words and what is not read of a long one.

    Args:
        ner: Finds entities; None takes those of the posts.
        re: Classifies relations; None finds none.
        cropper: Cuts object crops out of the pictures of posts that bring none; None shows the
            methods the whole picture alone.
        window: Posts that are read, sorted by length and computed together. The next window is read
            meanwhile; no more posts are held.
        workers: Threads that decode pictures; None takes one per core, 8 at most.
        long: ``windows`` reads a text that is longer than a method reads in overlapping windows,
            ``truncate`` reads its beginning, and ``error`` refuses it: see `mmie.data.long_posts`
            and `mmie.inference.long_posts`.
        min_probability: Least probability of the entities and relations that are returned. Others
            are left out, and pairs with entities that are left out are not classified.
        min_relation_probability: The same for relations alone; None takes ``min_probability``.
        relation_types: Limits relations to certain types of head and tail. The most probable label
            that the types allow is taken, ``None`` among them; None limits nothing.
        fast_jpeg: Reduce JPEG pictures while they are decoded, not below the size of the views,
            unless a cropper cuts them. Views differ slightly from those of a fit.

    Raises:
        ValueError: Neither ``ner`` nor ``re`` is given, or a value is out of its range.
    """

    def __init__(
        self,
        ner: Predictor | None = None,
        re: Predictor | None = None,
        cropper: CropSource | None = None,
        window: int = 256,
        workers: int | None = None,
        long: LongPosts = "windows",
        min_probability: float = 0.0,
        min_relation_probability: float | None = None,
        relation_types: RelationTypes | None = None,
        fast_jpeg: bool = False,
    ) -> None:
        if ner is None and re is None:
            raise ValueError("an Extractor needs a method for entities, one for relations, or both")
        if long not in get_args(LongPosts):
            raise ValueError(f"long is {long!r}: expected one of {', '.join(get_args(LongPosts))}")
        if min_relation_probability is None:
            min_relation_probability = min_probability
        elif re is None:
            raise ValueError("min_relation_probability is given, but no method for relations")
        for probability in (min_probability, min_relation_probability):
            if not 0 <= probability <= 1:
                raise ValueError(f"a least probability is {probability}: expected one from 0 to 1")
        self.ner = ner
        self.re = re
        self.cropper = cropper
        self.window = window
        self.workers = workers or min(8, os.cpu_count() or 1)
        self.long: LongPosts = long
        self.min_probability = min_probability
        self.min_relation_probability = min_relation_probability
        self.relation_types = relation_types
        self.fast_jpeg = fast_jpeg

    @classmethod
    def from_checkpoint(cls, path: str | Path, **options: Unpack[ExtractorOptions]) -> Self:
        """Load a checkpoint of either task.

        Args:
            path: File that a fit wrote, or folder that `mmie.export.pretrained.save_pretrained`
                wrote.
            **options: See `ExtractorOptions`.

        Raises:
            CheckpointError: The file is no checkpoint, or its method is not known here.
            DeviceError: The device does not exist on this machine.
        """
        return cls._from_checkpoints([read_checkpoint(path)], options)

    @classmethod
    def from_pretrained(
        cls, source: str | Path, revision: str | None = None, **options: Unpack[ExtractorOptions]
    ) -> Self:
        """Load a folder of `mmie.export.pretrained.save_pretrained`, local or on the hub.

        Args:
            source: The folder, or ``owner/name`` on the hub.
            revision: Branch, tag or commit there.
            **options: See `ExtractorOptions`.

        Raises:
            CheckpointError: No such folder or repository exists, or it holds something else.
            DeviceError: The device does not exist on this machine.
        """
        return cls._from_checkpoints([read_pretrained(source, revision)], options)

    @classmethod
    def _from_checkpoints(
        cls, checkpoints: Sequence[Checkpoint], options: ExtractorOptions
    ) -> Self:
        """Build an extractor of checkpoints, at most one for each task.

        Raises:
            CheckpointError: A method cannot be built.
            DeviceError: The device does not exist on this machine.
            RelationTypesError: The types of relations cannot be used.
        """
        device = resolve_device(options.get("device", "auto"))
        precision, batch_size = options.get("precision", "auto"), options.get("batch_size", 32)
        by_task = {checkpoint.schema.task: checkpoint for checkpoint in checkpoints}
        setting, relation_types = options.get("relation_types", ANY), None
        for_relations = by_task.get("re")
        if for_relations is not None:
            relation_types = find_relation_types(setting, for_relations)
        elif setting != ANY:
            raise RelationTypesError(
                f"relation_types is {setting}, but no method for relations is named: name one, or "
                f"leave it at {ANY}"
            )
        predictors: dict[Task, Predictor] = {}
        for task, checkpoint in by_task.items():
            predictors[task] = Predictor.from_checkpoint(checkpoint, device, precision, batch_size)
        return cls(
            predictors.get("ner"),
            predictors.get("re"),
            options.get("cropper"),
            options.get("window", 256),
            options.get("workers"),
            options.get("long", "windows"),
            options.get("min_probability", 0.0),
            options.get("min_relation_probability"),
            relation_types,
            options.get("fast_jpeg", False),
        )

    def extract(self, posts: Iterable[Post[Any]]) -> list[Extraction]:
        """Extract from posts, in their order.

        Args:
            posts: Posts, or a pandas frame with the columns ``text`` and ``image``; see
                `extract_frame`.

        Raises:
            PostError: An item is no post, its words, entities or relations do not fit its text, or
                it is too long and ``long`` is ``error``.
        """
        return list(self.stream(posts))

    def stream(self, posts: Iterable[Post[Any]]) -> Iterator[Extraction]:
        """Extract lazily, holding at most two windows of posts in memory.

        A post without an id is named by its index, from 0.

        Raises:
            PostError: An item is no post, its words, entities or relations do not fit its text, or
                it is too long and ``long`` is ``error``.
        """
        if is_frame(posts):
            posts = read_frame(posts, "text", "image")
        with ThreadPoolExecutor(self.workers) as pool:

            def read(item: tuple[int, Post[Any]]) -> ReadPost:
                index, post = item
                return read_post(post, index, self.formats, self.cropper, self.fast_jpeg)

            def read_window(window: Sequence[tuple[int, Post[Any]]]) -> list[ReadPost]:
                return list(pool.map(read, window))

            for _, reads in prefetch(read_window, windows(enumerate(posts), self.window)):
                yield from self._extract_window(reads)

    def extract_frame(self, frame: Any, text: str = "text", image: str | None = "image") -> Any:
        """Extract from a pandas frame of posts.

        Args:
            frame: A row for each post, with any index.
            text: Column of the texts.
            image: Column of the pictures, in any form that `Post` takes, or lists of several; a
                missing value is no picture. None is no column.

        Returns:
            A copy of the frame with the columns ``entities`` and ``relations``, lists of the
            records of `mmie.data.records`, and ``problems``.

        Raises:
            PostError: The frame has no such column.
        """
        return with_columns(frame, self.extract(read_frame(frame, text, image)))

    @property
    def formats(self) -> list[ViewFormat]:
        """Formats in which the methods see pictures. Methods without pictures have none."""
        predictors = [predictor for predictor in (self.ner, self.re) if predictor is not None]
        formats = (predictor.format for predictor in predictors)
        return list(dict.fromkeys(form for form in formats if form.num_views))

    def _extract_window(self, reads: list[ReadPost]) -> Iterator[Extraction]:
        """Extract from the posts of a window."""
        features: WindowFeatures = {}
        entities = self._predict_entities(reads, features)
        relations = self._predict_relations(reads, entities, features)
        for read, own_entities, own_relations in zip(reads, entities, relations, strict=True):
            both_ways = self.ner is None and bool(read.post.relations)
            extraction = _to_extraction(read, own_entities, own_relations, both_ways)
            probable: list[Triple] = []
            for triple in extraction.relations:
                if triple.probability >= self.min_relation_probability:
                    probable.append(triple)
            yield replace(extraction, relations=tuple(probable))

    def _predict_entities(
        self, reads: Sequence[ReadPost], features: WindowFeatures
    ) -> list[Prediction]:
        """Predict the entities of each post, or take those that the posts bring."""
        if self.ner is None:
            return [Prediction(read.post.id, read.post.entities) for read in reads]
        predictions = self.ner.predict(reads, features, self.long)
        found = []
        for prediction in predictions:
            entities = prediction[0] if prediction else Prediction("")  # of a post without words
            found.append(_drop_improbable(entities, self.min_probability))
        return found

    def _predict_relations(
        self,
        reads: Sequence[ReadPost],
        entities: Sequence[Prediction],
        features: WindowFeatures,
    ) -> list[list[Prediction]]:
        """Classify the pairs of entities of each post."""
        if self.re is None:
            return [[] for _ in reads]
        texts = self.re.encoder.split_texts(reads, self.long)
        with_pairs = []
        for index, (read, prediction) in enumerate(zip(reads, entities, strict=True)):
            if index in texts.long:
                pairs = self._choose_long_pairs(read, prediction.entities, texts.long[index])
            else:
                pairs = self._choose_pairs(read, prediction.entities)
            with_pairs.append(replace(read, post=replace(read.post, relations=pairs)))
        return self.re.predict(with_pairs, features, self.long, texts, self.relation_types)

    def _choose_pairs(self, read: ReadPost, entities: Sequence[Entity]) -> tuple[Relation, ...]:
        """Choose the pairs of a post that are classified."""
        pairs, count = read.post.relations, len(read.post.relations)
        if self.ner is not None or not pairs:
            pairs, count = plausible_pairs(entities, self._allowed_types, MAX_PAIRS)
        _note_unasked(read, MAX_PAIRS, count)
        return pairs[:MAX_PAIRS]

    def _choose_long_pairs(
        self, read: ReadPost, entities: Sequence[Entity], text: LongText
    ) -> tuple[Relation, ...]:
        """Choose the pairs of a long post that are classified: those that fit a window."""
        given = read.post.relations
        if self.ner is None and given:
            total = len(given)
            pairs = tuple(filter(text.fits, given))
            count = len(pairs)
        else:
            _, total = plausible_pairs(entities, self._allowed_types, 0)
            pairs, count = choose_near_pairs(entities, self._allowed_types, text, MAX_PAIRS)
        if count < total:
            read.problems.append(
                f"relations: {total - count} of {total} pairs of entities lie farther apart than "
                f"the {text.room} subwords that are read at once, and were not asked about"
            )
        _note_unasked(read, MAX_PAIRS, count)
        return pairs[:MAX_PAIRS]

    @property
    def _allowed_types(self) -> set[tuple[str, str]] | None:
        """Types of head and tail that are paired, in lower case, or None if all are."""
        assert self.re is not None
        labels = self.re.schema.labels
        if self.relation_types is not None:
            return self.relation_types.pairs(labels)
        return typed_pairs(labels)


def load_pair(ner: str | Path, re: str | Path, **options: Unpack[ExtractorOptions]) -> Extractor:
    """Load one checkpoint for entities and another for relations between them.

    Args:
        ner: Checkpoint of a method that finds entities.
        re: Checkpoint of a method that classifies relations.
        **options: See `ExtractorOptions`.

    Raises:
        CheckpointError: A file is no checkpoint, or belongs to the other task.
        DeviceError: The device does not exist on this machine.
    """
    return load_extractor(ner, re, **options)


def load_extractor(
    ner: str | Path | None = None,
    re: str | Path | None = None,
    **options: Unpack[ExtractorOptions],
) -> Extractor:
    """Load an extractor of one checkpoint or of two.

    Args:
        ner: Checkpoint of a method that finds entities, or None.
        re: Checkpoint of a method that classifies relations, or None.
        **options: See `ExtractorOptions`.

    Raises:
        CheckpointError: Both are None, a file is no checkpoint, or belongs to the other task.
        DeviceError: The device does not exist on this machine.
    """
    paths: dict[Task, str | Path | None] = {"ner": ner, "re": re}
    checkpoints = [_read_for_task(path, task) for task, path in paths.items() if path is not None]
    if not checkpoints:
        raise CheckpointError(
            "no checkpoint is named: expected one for entities, one for relations, or both"
        )
    return Extractor._from_checkpoints(checkpoints, options)


def _read_for_task(path: str | Path, task: Task) -> Checkpoint:
    """Read a checkpoint of a task.

    Raises:
        CheckpointError: The file is no checkpoint, or belongs to the other task.
    """
    checkpoint = read_checkpoint(path)
    if checkpoint.schema.task != task:
        raise CheckpointError(
            f"'{path}' is of the task {checkpoint.schema.task}: expected one of {task}"
        )
    return checkpoint


def windows(items: Iterable[_T], size: int) -> Iterator[list[_T]]:
    """Yield lists of ``size`` items, of which the last may be shorter."""
    iterator = iter(items)
    while window := list(islice(iterator, size)):
        yield window


def _to_extraction(
    read: ReadPost,
    entities: Prediction,
    relations: Sequence[Prediction],
    both_ways: bool,
) -> Extraction:
    """Convert predictions to mentions and triples.

    Args:
        read: The post.
        entities: Its entities.
        relations: A prediction for each classified pair.
        both_ways: Keep both directions of a pair that get the same label.
    """
    post = read.post
    probabilities = entities.probabilities or (1.0,) * len(entities.entities)
    mentions: dict[tuple[int, int], Mention] = {}
    for entity, probability in zip(entities.entities, probabilities, strict=True):
        mentions[entity.start, entity.end] = _to_mention(post, entity, probability)
    triples = []
    for prediction in relations:
        relation, probability = prediction.relations[0], prediction.probabilities[0]
        if relation.label != NO_RELATION:
            triples.append(_to_triple(post, relation, probability, mentions))
    return Extraction(
        post.id,
        post.text or "",
        post.offsets,
        tuple(mentions.values()),
        tuple(triples if both_ways else _drop_weaker_directions(triples)),
        tuple(read.problems),
        post.extra,
    )


def _drop_improbable(prediction: Prediction, least: float) -> Prediction:
    """Leave out entities below a probability."""
    pairs = zip(prediction.entities, prediction.probabilities, strict=True)
    kept = [(entity, probability) for entity, probability in pairs if probability >= least]
    return replace(
        prediction,
        entities=tuple(entity for entity, _ in kept),
        probabilities=tuple(probability for _, probability in kept),
    )


def _note_unasked(read: ReadPost, limit: int, count: int) -> None:
    """Add a problem if a post has more pairs of entities than are classified."""
    if count > limit:
        read.problems.append(
            f"relations: only {limit} of {count} pairs of entities were asked about"
        )


def _to_mention(post: Post, entity: Entity, probability: float) -> Mention:
    """Convert an entity to a mention with its characters in the text."""
    start = post.offsets[entity.start][0]
    end = post.offsets[entity.end - 1][1]
    return Mention((post.text or "")[start:end], entity.type, start, end, probability)


def _to_triple(
    post: Post,
    relation: Relation,
    probability: float,
    mentions: dict[tuple[int, int], Mention],
) -> Triple:
    """Convert a relation to a triple of the mentions of its head and tail.

    An argument that is no mention has been given with the post, and is certain.
    """
    arguments = []
    for entity in (relation.head, relation.tail):
        mention = mentions.get((entity.start, entity.end))
        arguments.append(mention or _to_mention(post, entity, 1.0))
    head, tail = arguments
    return Triple(head, relation.label, tail, probability)


def _drop_weaker_directions(triples: Sequence[Triple]) -> list[Triple]:
    """Keep one of two triples that have the same label in both directions."""
    strongest: dict[tuple[frozenset[Mention], str], Triple] = {}
    for triple in triples:
        key = frozenset((triple.head, triple.tail)), triple.label
        if key not in strongest or _strength(triple) > _strength(strongest[key]):
            strongest[key] = triple
    return list(strongest.values())


def _strength(triple: Triple) -> float:
    """Return a triple's probability, reduced if it goes against the order of the text."""
    along_text = triple.head.start < triple.tail.start
    return triple.probability / (1 if along_text else REVERSED_ODDS)
