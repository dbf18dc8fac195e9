"""State of the data module inside a checkpoint, as plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Self, get_args

from mmie.data.pictures import ImageTransform, ResizeMode
from mmie.types import Schema

RelationTypesByLabel = Mapping[str, Sequence[tuple[str, str]]]
"""Types of head and tail by relation label."""
_OPTIONAL = ("mask_id", "num_images")
"""Attributes of a schema that older checkpoints lack."""


class DataStateError(ValueError):
    """Values that do not describe a data module."""


@dataclass(frozen=True, slots=True)
class DataState:
    """Everything needed to read posts exactly as a trained method read them.

    Attributes:
        schema: Task, labels and sizes.
        tokenizer: Files of the tokenizer, name to text.
        transform: Conversion of pictures to views.
        use_context: Whether posts' contexts follow their words.
        epochs: Epochs that the fit had processed.
        corpus: SHA-256 of each split of the fit's corpus, by split; empty if it is not known.
        relation_types: Types of head and tail of the training data's relations, by label; empty if
            they have none or it is not known.
    """

    schema: Schema
    tokenizer: dict[str, str] = field(repr=False)
    transform: ImageTransform
    use_context: bool
    epochs: int = 0
    corpus: Mapping[str, str] = field(default_factory=dict)
    relation_types: RelationTypesByLabel = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain values that a checkpoint can hold."""
        relation_types = {}
        for label, pairs in self.relation_types.items():
            relation_types[label] = [list(pair) for pair in pairs]
        return {
            "corpus": dict(self.corpus),
            "epochs": self.epochs,
            "relation_types": relation_types,
            "schema": asdict(self.schema),
            "tokenizer": self.tokenizer,
            "transform": {
                "resize": self.transform.resize,
                "max_pixels": self.transform.max_pixels,
            },
            "use_context": self.use_context,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build the state from the values that `to_dict` returned.

        Raises:
            DataStateError: A value is missing, or is of another type or out of its range.
        """
        try:
            schema = read_schema(values["schema"])
            resize = values["transform"]["resize"]
            max_pixels = values["transform"]["max_pixels"]
            tokenizer = dict(values["tokenizer"])
            use_context = values["use_context"]
            epochs = values.get("epochs", 0)
            corpus = {str(split): str(digest) for split, digest in values.get("corpus", {}).items()}
            relation_types: dict[str, list[tuple[str, str]]] = {}
            for label, pairs in values.get("relation_types", {}).items():
                relation_types[str(label)] = [(str(head), str(tail)) for head, tail in pairs]
        except (KeyError, TypeError, IndexError, AttributeError, ValueError) as error:
            raise DataStateError(f"{type(error).__name__}: {error}") from error
        if resize not in get_args(ResizeMode) or type(max_pixels) is not int:
            raise DataStateError(f"transform is resize {resize!r}, max_pixels {max_pixels!r}")
        if type(use_context) is not bool:
            raise DataStateError(f"use_context is {use_context!r}")
        transform = ImageTransform(schema.image_size, resize, max_pixels)
        return cls(schema, tokenizer, transform, use_context, epochs, corpus, relation_types)


def read_schema(values: Mapping[str, Any]) -> Schema:
    """Build a schema from plain values.

    Raises:
        KeyError: A value is missing.
        TypeError: A value is unknown or of another type.
    """
    for field_of_schema in fields(Schema):
        if field_of_schema.name not in (*_OPTIONAL, *values):
            raise KeyError(field_of_schema.name)
    return Schema(**{**values, "labels": tuple(values["labels"])})


def schema_difference(theirs: Schema, ours: Schema, names: Sequence[str]) -> str | None:
    """Return the first of some attributes in which two schemas differ.

    Args:
        theirs: One schema.
        ours: The other schema.
        names: Attributes to compare.

    Returns:
        The attribute's name; None if all are equal.
    """
    for name in names:
        if getattr(theirs, name) != getattr(ours, name):
            return name
    return None
