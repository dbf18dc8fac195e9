"""Dataclasses that every room shares, and the axis names of shape comments.

==============  ===================================================================
axis            meaning
==============  ===================================================================
``batch``       posts in a batch (B)
``tokens``      subword tokens, ``[CLS]`` and ``[SEP]`` included (T)
``words``       words, as the corpus splits them (W)
``hidden``      width of the text encoder (d)
``layers``      layers of the text encoder (N)
``heads``       attention heads of the text encoder
``head_size``   width of one attention head
``views``       the pictures, then the object crops (V = num_images + num_objects)
``scales``      stages of the visual backbone (c)
``prefix``      prefix positions before a layer's keys and values (L)
``tags``        tags of the tag scheme, ``O`` included
``labels``      relation labels, ``None`` included
==============  ===================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, Self

import numpy as np
from PIL import Image
from typing_extensions import TypeVar

if TYPE_CHECKING:  # the import takes seconds, for which a wrong option must not wait
    import torch
    from torch import Tensor

Task = Literal["ner", "re"]
Split = Literal["train", "valid", "test"]
TagScheme = Literal["bio", "bioes"]

SPLITS: tuple[Split, ...] = ("train", "valid", "test")
NO_RELATION = "None"
"""Label of a pair without a relation; predicting it is predicting nothing."""
UNKNOWN_LABEL = -1
"""Gold label id of a relation whose label the model lacks: no loss, but it counts in the metric."""
MAX_BYTES = 32
"""Most bytes of a word that character encoders read."""
MARKERS = ("[unused1]", "[unused2]", "[unused3]", "[unused4]")
"""Special tokens before and after the head, before and after the tail."""


Picture = Path | str | bytes | Image.Image | np.ndarray[Any, Any]
"""A picture: a file, its bytes, a Pillow image, or a uint8 array (height, width[, 1, 3 or 4])."""
PictureT = TypeVar("PictureT", default=Path)


class MmieError(Exception):
    """An error that the user can mend. Its message is one line, printed without a traceback."""


@dataclass(frozen=True, slots=True, order=True)
class Entity:
    """Named entity: words ``start`` to ``end`` (exclusive) of a post, and its type ("" if none)."""

    start: int
    end: int
    type: str = ""


@dataclass(frozen=True, slots=True)
class Relation:
    """Directed relation between two entities of one post."""

    head: Entity
    tail: Entity
    label: str


@dataclass(frozen=True, slots=True)
class Post(Generic[PictureT]):
    """Short text with a picture, with several or without any.

    Pictures of a corpus are files, and its words are split. For one's own post, a ``text`` and any
    `Picture` are enough.

    Attributes:
        id: Name of the post within its split.
        words: Words of the text, split as the corpus splits them.
        image: The whole picture; None if the post has none. The file need not exist.
        crops: Object crops cut from the pictures, best first.
        context: Text from elsewhere about the post: a caption, OCR, retrieved knowledge.
        entities: Gold entities.
        relations: Gold relations.
        text: The original text; None if the words were not split from one.
        offsets: First and last (exclusive) character of each word in ``text``; empty without one.
        extra: Keys of its JSON object, or columns of its row, that are not read.
        more_images: Further whole pictures, in their order.
    """

    id: str = ""
    words: tuple[str, ...] = ()
    image: PictureT | None = None
    crops: tuple[PictureT, ...] = ()
    context: str | None = None
    entities: tuple[Entity, ...] = ()
    relations: tuple[Relation, ...] = ()
    text: str | None = None
    offsets: tuple[tuple[int, int], ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)
    more_images: tuple[PictureT, ...] = ()

    @property
    def images(self) -> tuple[PictureT, ...]:
        """All whole pictures in their order."""
        return self.more_images if self.image is None else (self.image, *self.more_images)


@dataclass(frozen=True, slots=True)
class Schema:
    """Task, labels and sizes, which the data module gives and the model is built for.

    Attributes:
        task: ``ner`` or ``re``.
        labels: Entity types (NER) or relation labels, ``None`` first (RE).
        tag_scheme: Scheme of NER tags.
        vocab_size: Tokens of the vocabulary, entity markers included.
        max_tokens: Most subword tokens of a post.
        num_objects: Object crops per post (m).
        image_size: Height and width of a view in pixels.
        mask_id: Id of the tokenizer's mask token; None if it has none.
        num_images: Whole pictures per post.
    """

    task: Task
    labels: tuple[str, ...]
    vocab_size: int
    tag_scheme: TagScheme = "bio"
    max_tokens: int = 128
    num_objects: int = 3
    image_size: int = 224
    mask_id: int | None = None
    num_images: int = 1

    @property
    def num_views(self) -> int:
        """Views per post (V): its pictures, then its crops."""
        return self.num_images + self.num_objects


@dataclass(slots=True)
class Batch:
    """Batch of posts (NER), or of posts with one relation each (RE), padded to its longest.

    Attributes:
        ids: Post ids.
        counted: (batch,) bool, False for copies that pad the batches of a DDP rank.
        index: (batch,) index of the instance in its split.
        input_ids: (batch, tokens) subword ids.
        attention_mask: (batch, tokens) bool, True on real tokens.
        token_type_ids: (batch, tokens) 0 on the post's own text, 1 on its context.
        token_words: (batch, tokens) index of the word that a subword belongs to; -1 on special
            tokens, markers, context and padding.
        word_starts: (batch, words) position of a word's first subword; 0, the ``[CLS]``, for a word
            without subwords.
        word_mask: (batch, words) bool, True on words within ``max_tokens``.
        characters: (batch, words, bytes) UTF-8 bytes of each word plus 1, at most `MAX_BYTES`; 0 on
            padding.
        view_mask: (batch, views) bool, True on readable views.
        pixels: (batch, views, 3, height, width) uint8 RGB; None if no view is readable or the
            method reads no pixels.
        entities: Gold entities per post, cut-off ones included.
        relations: Gold relation per post; empty for NER.
        tags: (batch, words) gold tag ids, 0 (``O``) on padding; None for RE.
        markers: (batch, 2) positions of the head's and the tail's opening marker; None for NER.
        labels: (batch,) gold relation ids; None for NER.
        cores: (batch, 2) first and last (exclusive) word that belong to a row, which is a window of
            a longer post; None if all rows are whole posts.
        origins: (batch, 2) number of a row's window in its post, from 0, and first word of the
            window there; None if all rows are whole posts.
        allowed: (batch, labels) bool, True on relations that may be predicted; None allows all.
        features: Cached features by name: see `mmie.blocks.features`.
        view_index: (readable views,) indices of the readable views in the flattened ``view_mask``.
            They are computed before the batch moves to a device, which would have to be waited
            for; None until then.
    """

    ids: tuple[str, ...]
    counted: Tensor
    index: Tensor
    input_ids: Tensor
    attention_mask: Tensor
    token_type_ids: Tensor
    token_words: Tensor
    word_starts: Tensor
    word_mask: Tensor
    characters: Tensor
    view_mask: Tensor
    pixels: Tensor | None = None
    entities: tuple[tuple[Entity, ...], ...] = ()
    relations: tuple[Relation, ...] = ()
    tags: Tensor | None = None
    markers: Tensor | None = None
    labels: Tensor | None = None
    cores: Tensor | None = None
    origins: Tensor | None = None
    allowed: Tensor | None = None
    features: dict[str, Tensor] = field(default_factory=dict)
    view_index: Tensor | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def text_mask(self) -> Tensor:
        """Mask of the subwords of the post's own words, (batch, tokens) bool."""
        return self.token_words >= 0

    @property
    def readable(self) -> Tensor:
        """Indices of the readable views in the flattened ``view_mask``, (readable views,)."""
        if self.view_index is not None:
            return self.view_index
        return self.view_mask.flatten().nonzero().squeeze(1)

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """Copy every tensor to a device."""
        indexed = replace(self, view_index=self.readable)
        return indexed._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        """Copy every tensor to page-locked memory, which a GPU copies from without waiting."""
        return self._map(lambda tensor: tensor.pin_memory())

    def _map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """Apply a function to every tensor."""
        import torch

        changes: dict[str, Any] = {}
        for attribute in fields(self):
            value = getattr(self, attribute.name)
            if isinstance(value, torch.Tensor):
                changes[attribute.name] = function(value)
        features = {name: function(value) for name, value in self.features.items()}
        return replace(self, **changes, features=features)


@dataclass(frozen=True, slots=True)
class Prediction:
    """Prediction of a model for a post (NER), or for one pair of its entities (RE).

    Attributes:
        id: Id of the post.
        entities: Predicted entities; empty for RE.
        relations: The pair with its predicted label; empty for NER.
        probabilities: Probability of each entity or relation; empty if not computed.
    """

    id: str
    entities: tuple[Entity, ...] = ()
    relations: tuple[Relation, ...] = ()
    probabilities: tuple[float, ...] = ()

    def to(self, device: torch.device | str) -> Self:
        """Return the prediction itself, as Lightning asks: it has no tensor to move."""
        return self


@dataclass(frozen=True, slots=True)
class Mention:
    """Entity as characters of a text.

    Attributes:
        text: Its characters.
        type: Its type.
        start: First character in the post's text.
        end: Last character (exclusive).
        probability: Probability that exactly these words are an entity of this type.
    """

    text: str
    type: str
    start: int
    end: int
    probability: float


@dataclass(frozen=True, slots=True)
class Triple:
    """Directed relation between two mentions of a post.

    Attributes:
        head: First argument.
        label: Label of the relation.
        tail: Second argument.
        probability: Probability that the pair has this relation.
    """

    head: Mention
    label: str
    tail: Mention
    probability: float


@dataclass(frozen=True, slots=True)
class Extraction:
    """Entities and relations extracted from a post.

    Attributes:
        id: Id of the post; its index in the input, from 0, if it has none.
        text: Text in which offsets count: the post's own, or its words joined by spaces.
        offsets: First and last (exclusive) character of each word.
        entities: Entities in order of their start.
        relations: Relations other than ``None``.
        problems: A line for each part of the post that could not be read.
        extra: Further keys of its JSON object, such as those of the post that are not read.
    """

    id: str
    text: str
    offsets: tuple[tuple[int, int], ...]
    entities: tuple[Mention, ...] = ()
    relations: tuple[Triple, ...] = ()
    problems: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict, hash=False)


@dataclass(slots=True)
class Encoding:
    """Output of a method's encoder for a batch.

    Attributes:
        states: (batch, tokens, hidden) states of the text, conditioned on the image.
        losses: Weighted extra losses by name, to be added to the task's loss.
    """

    states: Tensor
    losses: dict[str, Tensor] = field(default_factory=dict)
