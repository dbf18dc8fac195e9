"""What goes over the wire, as the OpenAPI description tells it."""

import binascii
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema


def _decode(value: object) -> bytes | None:
    """The bytes of base64, with or without the head of a data URI."""
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError("expected base64 or null")
    data = value.partition(",")[2] if value.startswith("data:") else value
    try:
        return binascii.a2b_base64(data, strict_mode=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("expected base64") from error


Base64 = Annotated[
    bytes | None,
    BeforeValidator(_decode),
    WithJsonSchema({"type": ["string", "null"], "contentEncoding": "base64", "default": None}),
]


class PostIn(BaseModel):
    """A post."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(
        "", max_length=200, description="Its name in the answer; by default its place, from 0."
    )
    text: str = Field(description="What it says.")
    image: Base64 = Field(
        None, description="Its picture: the bytes of a JPEG, PNG, WebP, GIF, BMP or TIFF file."
    )


class Request(BaseModel):
    """Posts to look at."""

    model_config = ConfigDict(extra="forbid")

    posts: list[PostIn] = Field(min_length=1, description="The posts.")
    explain: bool = Field(
        False, description="Say what part the views had in the answers; for one post alone."
    )


class Place(BaseModel):
    """Characters of a text that name something."""

    text: str
    type: str
    start: int = Field(description="First character.")
    end: int = Field(description="Last character, exclusive.")


class FoundEntity(Place):
    """An entity."""

    probability: float = Field(description="That exactly these words are an entity of this type.")


class FoundRelation(BaseModel):
    """A directed relation."""

    head: Place
    label: str
    tail: Place
    probability: float = Field(description="That this is the pair's relation.")


class ViewEffect(BaseModel):
    """The part that one view had in an answer."""

    view: int = Field(description="Place of the view in `views`.")
    support: float = Field(
        description="Log probability of the answer, minus that without this view."
    )
    change: float = Field(
        description="How much of the length of the text's states moves without this view."
    )
    attention: float | None = Field(
        description="Mean attention of the words to this view; null without a prefix."
    )
    words: list[float] | None = Field(description="The same, of each word.")


class AnswerReasons(BaseModel):
    """The part that the views had in an answer."""

    about: str = Field(description="`entities`, or the relation: head, label, tail.")
    words: list[str]
    effects: list[ViewEffect] = Field(description="Of every view that the method saw.")


class ShownView(BaseModel):
    """A picture that the methods saw."""

    name: str = Field(description="`picture`, or `crop` and its number.")
    image: str = Field(description="The picture made small, as a data URI.")


class Explanation(BaseModel):
    """What part the views had in the answers."""

    views: list[ShownView]
    answers: list[AnswerReasons]


class Found(BaseModel):
    """What was found in a post."""

    id: str
    text: str
    entities: list[FoundEntity]
    relations: list[FoundRelation]
    problems: list[str] = Field([], description="What could not be read, a line each.")
    explanation: Explanation | None = None


class Response(BaseModel):
    """What was found in the posts, in their order."""

    posts: list[Found]


class Method(BaseModel):
    """A method that answers."""

    task: str
    name: str
    labels: list[str]
    views: int = Field(description="Pictures that it sees of a post; 0 if it reads the text alone.")


class Health(BaseModel):
    """How the server does."""

    ready: bool
    version: str
    waiting: int = Field(description="Posts that wait to be answered.")
    max_waiting: int
    methods: list[Method]
    limits: dict[str, Any]


class Failure(BaseModel):
    """Why a request was not answered."""

    error: str = Field(description="One line.")
