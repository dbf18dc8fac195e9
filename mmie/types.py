"""The words that every room shares, and the axis names that every shape comment uses.

==============  ===================================================================
axis            meaning
==============  ===================================================================
``batch``       posts in a batch (B)
``tokens``      subword tokens, ``[CLS]`` and ``[SEP]`` included (T)
``words``       words as the corpus splits them (W)
``hidden``      width of the text encoder (d)
``layers``      layers of the text encoder (N)
``heads``       attention heads of the text encoder
``head_size``   width of one attention head
``views``       the global picture, then its object crops (V = 1 + num_objects)
``scales``      stages of the visual backbone (c)
``prefix``      prefix positions before a layer's keys and values (L)
``tags``        tags of the tag scheme, ``O`` included
``labels``      relation labels, ``None`` included
==============  ===================================================================
"""

from collections.abc import Callable
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Generic, Literal, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from typing_extensions import TypeVar

Task = Literal["ner", "re"]
Split = Literal["train", "valid", "test"]
TagScheme = Literal["bio", "bioes"]

SPLITS: tuple[Split, ...] = ("train", "valid", "test")
NO_RELATION = "None"
"""The relation label that says that there is none; a prediction of it is no prediction."""
UNKNOWN_LABEL = -1
"""Gold label id of a relation that the model has no label for: no loss, but it counts in the metric."""
MAX_BYTES = 32
"""Bytes of a word that methods which spell words look at."""
MARKERS = ("[unused1]", "[unused2]", "[unused3]", "[unused4]")
"""Special tokens before and after the head, before and after the tail."""


Picture = Path | str | bytes | Image.Image | np.ndarray[Any, Any]
"""A picture: its file, the bytes of one, a Pillow image, or a uint8 array (height, width[, 1, 3 or 4])."""
PictureT = TypeVar("PictureT", default=Path)


class MmieError(Exception):
    """Something a user can mend; its message is one line, and the command line prints it without a traceback."""


@dataclass(frozen=True, slots=True, order=True)
class Entity:
    """A named entity: words ``start`` to ``end`` (exclusive) of a post, and its type ("" where unknown)."""

    start: int
    end: int
    type: str = ""


@dataclass(frozen=True, slots=True)
class Relation:
    """A directed relation between two entities of one post."""

    head: Entity
    tail: Entity
    label: str


@dataclass(frozen=True, slots=True)
class Post(Generic[PictureT]):
    """A short text with at most one picture, and what is known about it.

    A corpus's pictures are files, and its words are split; of one's own post, a ``text`` and any `Picture` are enough.

    Attributes:
        id: Name of the post within its split.
        words: The text, split as its corpus splits it.
        image: The whole picture; None if the post has none. The file need not exist.
        crops: The object crops cut from the picture, best first.
        context: Words that someone else found for the post (a caption, OCR, retrieved knowledge).
        entities: Gold entities.
        relations: Gold relations.
        text: The original text, if the words were split from one.
        offsets: For each word its first and last (exclusive) character in ``text``; empty without ``text``.
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


@dataclass(frozen=True, slots=True)
class Schema:
    """What the data tells the model, and all that a checkpoint must remember of it.

    Attributes:
        task: ``ner`` or ``re``.
        labels: Entity types (NER) or relation labels, ``None`` first (RE).
        tag_scheme: How NER tags spell entities.
        vocab_size: Tokens the tokenizer knows, entity markers included.
        max_tokens: Most subword tokens of a post.
        num_objects: Object crops per post (m).
        image_size: Height and width of a view in pixels.
        mask_id: Id of the tokenizer's mask token; None if it has none.
    """

    task: Task
    labels: tuple[str, ...]
    vocab_size: int
    tag_scheme: TagScheme = "bio"
    max_tokens: int = 128
    num_objects: int = 3
    image_size: int = 224
    mask_id: int | None = None


@dataclass(slots=True)
class Batch:
    """A batch of posts (NER) or of posts with one relation each (RE), padded to its longest.

    Attributes:
        ids: Post ids.
        counted: (batch,) bool; False for a copy that only gives every DDP rank equally many batches.
        index: (batch,) place of the instance in its split.
        input_ids: (batch, tokens) subword ids.
        attention_mask: (batch, tokens) bool, True on real tokens.
        token_type_ids: (batch, tokens) 0 on the post's own text, 1 on its context.
        token_words: (batch, tokens) place of the word that a subword belongs to; -1 on specials, markers, context
            and padding.
        word_starts: (batch, words) position of a word's first subword; 0, the ``[CLS]``, for a word without any.
        word_mask: (batch, words) bool, True on words that ``max_tokens`` left in.
        characters: (batch, words, bytes) UTF-8 bytes of each word plus 1, cut after `MAX_BYTES`; 0 on padding.
        view_mask: (batch, views) bool, True on views that can be read.
        view_index: (readable views,) their places in the flattened ``view_mask``, known before the batch moves to a
            device, which would have to be waited for; None until then.
        pixels: (batch, views, 3, height, width) uint8 RGB, or None if no post of the batch has a readable view or the
            method reads none.
        entities: Gold entities per post, cut-off ones included.
        relations: Gold relation per post; empty for NER.
        tags: (batch, words) gold tag ids, 0 (``O``) on padding; None for RE.
        markers: (batch, 2) positions of the head's and the tail's opening marker; None for NER.
        labels: (batch,) gold relation ids; None for NER.
        features: What feature specifications name: see `mmie.blocks.features`.
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
    features: dict[str, Tensor] = field(default_factory=dict)
    view_index: Tensor | None = None

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def text_mask(self) -> Tensor:
        """(batch, tokens) bool, True on subwords of the post's own words."""
        return self.token_words >= 0

    @property
    def readable(self) -> Tensor:
        """(readable views,) places of the views that can be read in the flattened ``view_mask``."""
        return (
            self.view_mask.flatten().nonzero().squeeze(1)
            if self.view_index is None
            else self.view_index
        )

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        """The batch with every tensor on ``device``."""
        return replace(self, view_index=self.readable)._map(
            lambda tensor: tensor.to(device, non_blocking=non_blocking)
        )

    def pin_memory(self) -> Self:
        """The batch with every tensor in page-locked memory, which a GPU copies from without waiting."""
        return self._map(Tensor.pin_memory)

    def _map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """The batch with ``function`` applied to every tensor."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        changed: dict[str, Any] = {
            name: function(value) for name, value in values.items() if isinstance(value, Tensor)
        }
        return replace(
            self,
            **changed,
            features={name: function(value) for name, value in self.features.items()},
        )


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model finds in a post, or says of a relation that it is asked about.

    Attributes:
        id: The post's.
        entities: What it finds.
        relations: What it says.
        probabilities: Of each entity or relation, if they were asked for.
    """

    id: str
    entities: tuple[Entity, ...] = ()
    relations: tuple[Relation, ...] = ()
    probabilities: tuple[float, ...] = ()

    def to(self, device: torch.device | str) -> Self:
        """Itself: there is no tensor to move, and Lightning asks for it."""
        return self


@dataclass(frozen=True, slots=True)
class Mention:
    """An entity where a text names it.

    Attributes:
        text: The characters that name it.
        type: Its type.
        start: First character, in the post's text.
        end: Last character (exclusive).
        probability: That exactly these words are an entity of this type, as the model sees it.
    """

    text: str
    type: str
    start: int
    end: int
    probability: float


@dataclass(frozen=True, slots=True)
class Triple:
    """A directed relation between two mentions of a post.

    Attributes:
        head: Where it comes from.
        label: What it is.
        tail: Where it goes to.
        probability: That this is the pair's relation, as the model sees it.
    """

    head: Mention
    label: str
    tail: Mention
    probability: float


@dataclass(frozen=True, slots=True)
class Extraction:
    """What was found in a post.

    Attributes:
        id: The post's; its place in the input, from 0, if it has none.
        text: The text that offsets count in: the post's own, or its words with spaces between them.
        offsets: First and last (exclusive) character of each word.
        entities: In order of their start.
        relations: Those that are not ``None``.
        problems: What could not be read, a line each; empty if all was.
    """

    id: str
    text: str
    offsets: tuple[tuple[int, int], ...]
    entities: tuple[Mention, ...] = ()
    relations: tuple[Triple, ...] = ()
    problems: tuple[str, ...] = ()


@dataclass(slots=True)
class Encoding:
    """What a method makes of a batch.

    Attributes:
        states: (batch, tokens, hidden) states of the text in the light of the picture.
        losses: Extra losses by name, weighted, ready to be added to the task's.
    """

    states: Tensor
    losses: dict[str, Tensor] = field(default_factory=dict)
