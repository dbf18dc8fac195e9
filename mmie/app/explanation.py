"""What part the views of a post had in what was found in it."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from PIL import Image
from torch import Tensor

from mmie.app.schemas import AnswerReasons, Explanation, ShownView, ViewEffect
from mmie.data.pictures import PictureError, load_picture
from mmie.data.words import split_words
from mmie.inference import Extractor
from mmie.inference.predictor import Predictor
from mmie.inference.reading import read_post
from mmie.types import Entity, Extraction, Mention, Post, Relation

_SIDE, _QUALITY = 320, 80
"""Longer side and JPEG quality of the pictures that are shown."""
_MOST_RELATIONS = 12
"""Relations that are explained, most probable first: each is computed once more for every view."""


def explain(extractor: Extractor, post: Post[bytes]) -> tuple[Extraction, Explanation]:
    """What is found in a post, and what part its views had in that.

    The crops are cut here, so that those shown are those the methods saw.
    """
    shown = _with_crops(extractor, post)
    (extraction,) = extractor.extract([shown])
    views = [] if not isinstance(shown.image, Image.Image) else [shown.image, *shown.crops]
    cards = [_card(name, view) for name, view in zip(_names(len(views)), views, strict=True)]
    return extraction, Explanation(views=cards, answers=_predictions(extractor, shown, extraction))


def _with_crops(extractor: Extractor, post: Post[bytes]) -> Post[Any]:
    """The post with its picture decoded and its crops cut; as it is if it has none that can be read."""
    formats = extractor.formats
    if post.image is None or not formats:
        return post
    try:
        picture = load_picture(post.image, max(form.transform.max_pixels for form in formats))
    except PictureError:
        return post
    most = max(form.num_views for form in formats) - 1
    words = [word for word, _, _ in split_words(post.text or "")]
    crops = (
        extractor.cropper.crops(picture, words)[:most]
        if extractor.cropper is not None and most
        else []
    )
    return Post(id=post.id, text=post.text, image=picture, crops=tuple(crops))


def _predictions(
    extractor: Extractor, post: Post[Any], extraction: Extraction
) -> list[AnswerReasons]:
    """The reasons of the entities, and of each relation."""
    words = [extraction.text[start:end] for start, end in extraction.offsets]
    reasons: list[AnswerReasons] = []
    if extractor.ner is not None and words:
        reasons += _reasons(extractor.ner, post, ["entities"], words)
    if extractor.re is not None and extraction.relations:
        triples = sorted(extraction.relations, key=lambda triple: -triple.probability)[
            :_MOST_RELATIONS
        ]
        pairs = [
            Relation(
                _entity(extraction, triple.head), _entity(extraction, triple.tail), triple.label
            )
            for triple in triples
        ]
        names = [f"{triple.head.text}, {triple.label}, {triple.tail.text}" for triple in triples]
        reasons += _reasons(extractor.re, replace(post, relations=tuple(pairs)), names, words)
    return reasons


def _entity(extraction: Extraction, mention: Mention) -> Entity:
    """A mention by its words."""
    starts, ends = zip(*extraction.offsets, strict=True)
    return Entity(starts.index(mention.start), ends.index(mention.end) + 1, mention.type)


def _reasons(
    answerer: Predictor, post: Post[Any], names: Sequence[str], words: list[str]
) -> list[AnswerReasons]:
    """The part that each view had in each answer of a method; none of a method that sees no view of the post."""
    form = answerer.format
    read = read_post(post, 0, [form] if form.num_views else [])
    seen = [place for place, view in enumerate(read.views.get(form, ())) if view is not None]
    values = answerer.diagnose([read]) if seen else {}
    return [
        AnswerReasons(
            about=name,
            words=words,
            effects=[_effect(values, row, view, len(words)) for view in seen],
        )
        for row, name in enumerate(names)
    ]


def _effect(values: Mapping[str, Tensor], prediction: int, view: int, num_words: int) -> ViewEffect:
    """What a view did to an answer."""
    mass = values.get("prefix_mass")  # (answers, layers, words, views)
    of_words = None if mass is None else mass[prediction, :, :num_words, view].mean(0)  # (words,)
    return ViewEffect(
        view=view,
        support=values["view_support"][prediction, view].item(),
        change=values["view_change"][prediction, view].item(),
        attention=None if of_words is None else of_words.mean().item(),
        words=None if of_words is None else of_words.tolist(),
    )


def _names(count: int) -> list[str]:
    return ["picture", *(f"crop {number}" for number in range(1, count))][:count]


def _card(name: str, picture: Image.Image) -> ShownView:
    """A view made small."""
    small = picture.copy()
    small.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=_QUALITY)
    return ShownView(
        name=name, image="data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
    )
