"""JSON bodies of the API, as its OpenAPI description presents them."""

import binascii
import re
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

_ADDRESS = re.compile(r"(?!data:)[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def _decode_base64(value: object) -> bytes | None:
    """Decode base64 with or without the prefix of a data URI.

    Raises:
        ValueError: The value is neither base64 nor None.
    """
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError("expected base64 or null")
    if _ADDRESS.match(value):
        raise ValueError("expected base64, found an address: pictures are sent, not fetched")
    data = value.partition(",")[2] if value.startswith("data:") else value
    try:
        return binascii.a2b_base64(data, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("expected base64") from error


Base64 = Annotated[
    bytes | None,
    BeforeValidator(_decode_base64),
    WithJsonSchema({"type": ["string", "null"], "contentEncoding": "base64", "default": None}),
]


MAX_IMAGES = 16
"""Most further pictures of a post."""


class PostIn(BaseModel):
    """A post."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(
        "",
        max_length=200,
        description="Id of the post in the response; by default its index, from 0.",
    )
    text: str = Field(description="The text.")
    image: Base64 = Field(
        None, description="The picture: bytes of a JPEG, PNG, WebP, GIF, BMP or TIFF file."
    )
    images: list[Base64] = Field(
        [],
        max_length=MAX_IMAGES,
        description="Further pictures, of which a method uses as many as it has views for.",
    )


class ExtractionRequest(BaseModel):
    """Posts to extract from."""

    model_config = ConfigDict(extra="forbid")

    posts: list[PostIn] = Field(min_length=1, description="The posts.")
    explain: bool = Field(
        False,
        description="Add the effects of the views on the predictions; for a single post only.",
    )


class MentionOut(BaseModel):
    """A mention of an entity in a text."""

    text: str
    type: str
    start: int = Field(description="First character.")
    end: int = Field(description="Last character, exclusive.")


class EntityOut(MentionOut):
    """An entity."""

    probability: float = Field(
        description="Probability that exactly these words are an entity of this type."
    )


class RelationOut(BaseModel):
    """A directed relation."""

    head: MentionOut
    label: str
    tail: MentionOut
    probability: float = Field(description="Probability of this relation between the pair.")


class ViewEffect(BaseModel):
    """Effect of one view on a prediction."""

    view: int = Field(description="Index of the view in `views`.")
    support: float = Field(
        description="Log probability of the prediction, minus the one without this view."
    )
    change: float = Field(
        description="Norm of the change of the text's states without this view, relative to theirs."
    )
    attention: float | None = Field(
        description="Mean attention of the words to this view; null for methods without a prefix."
    )
    words: list[float] | None = Field(description="Attention of each word to this view.")


class PredictionEffects(BaseModel):
    """Effects of the views on one prediction."""

    about: str = Field(description="`entities`, or the relation: head, label, tail.")
    words: list[str]
    effects: list[ViewEffect] = Field(description="Effect of each view that the method used.")


class ViewImage(BaseModel):
    """A picture that the methods used."""

    name: str = Field(
        description="`picture`, `picture` and its number if there are several, or `crop` and its "
        "number."
    )
    image: str = Field(description="The picture at reduced size, as a data URI.")


class Explanation(BaseModel):
    """Effects of the views on the predictions."""

    views: list[ViewImage]
    answers: list[PredictionEffects]


class ExtractionOut(BaseModel):
    """Entities and relations in a post."""

    id: str
    text: str
    entities: list[EntityOut]
    relations: list[RelationOut]
    problems: list[str] = Field([], description="Parts of the post that could not be read.")
    explanation: Explanation | None = None
    offsets: list[list[int]] = Field(
        [], description="First and last (exclusive) character of each word."
    )


class ExtractionResponse(BaseModel):
    """Entities and relations in the posts, in the order of the request."""

    posts: list[ExtractionOut]


class MethodOut(BaseModel):
    """A method that the server runs."""

    task: str
    name: str
    labels: list[str]
    views: int = Field(description="Pictures of a post that the method uses; 0 for text alone.")


class Health(BaseModel):
    """State of the server."""

    ready: bool
    version: str
    waiting: int = Field(description="Posts in the queue.")
    max_waiting: int
    methods: list[MethodOut]
    limits: dict[str, Any]


class Failure(BaseModel):
    """Reason why a request failed."""

    error: str = Field(description="The reason in one line.")
