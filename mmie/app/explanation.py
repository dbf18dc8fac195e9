"""Effects of a post's views on the predictions for it."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from PIL import Image
from torch import Tensor

from mmie.app.schemas import Explanation, PredictionEffects, ViewEffect, ViewImage
from mmie.data.long_posts import LongPosts
from mmie.data.pictures import PictureError, load_picture
from mmie.data.words import split_words
from mmie.inference import Extractor
from mmie.inference.predictor import Predictor
from mmie.inference.reading import read_post
from mmie.types import Entity, Extraction, Mention, Post, Relation

_THUMBNAIL_SIDE = 320
"""Longer side of the pictures in an explanation, in pixels."""
_THUMBNAIL_QUALITY = 80
"""JPEG quality of the pictures in an explanation."""
_MAX_RELATIONS = 12
"""Most relations that are explained, by probability: each takes one pass more for every view."""


def explain(extractor: Extractor, post: Post[bytes]) -> tuple[Extraction, Explanation]:
    """Extract from a post, and compute the effects of its views on the predictions.

    Pictures are decoded and crops cut only once, so that the explanation shows the views that the
    methods used.

    Args:
        extractor: Finds entities and relations.
        post: The post.

    Returns:
        The extraction and its explanation.
    """
    decoded = _decode_views(extractor, post)
    (extraction,) = extractor.extract([decoded])
    effects = _prediction_effects(extractor, decoded, extraction)
    return extraction, Explanation(views=_view_images(decoded), answers=effects)


def _decode_views(extractor: Extractor, post: Post[bytes]) -> Post[Any]:
    """Decode a post's picture and cut its crops.

    Returns:
        The decoded post; the same post if no method uses images or the picture cannot be read.
    """
    formats = extractor.formats
    if post.image is None or not formats:
        return post
    try:
        picture = load_picture(post.image, max(form.transform.max_pixels for form in formats))
    except PictureError:
        return post
    crops: list[Image.Image] = []
    num_crops = max(form.num_views for form in formats) - 1
    if extractor.cropper is not None and num_crops > 0:
        words = [word for word, _, _ in split_words(post.text or "")]
        crops = extractor.cropper.crops(picture, words)[:num_crops]
    return Post(id=post.id, text=post.text, image=picture, crops=tuple(crops))


def _prediction_effects(
    extractor: Extractor, post: Post[Any], extraction: Extraction
) -> list[PredictionEffects]:
    """Compute the effects of the views on the entities as a whole, and on each relation."""
    words = [extraction.text[start:end] for start, end in extraction.offsets]
    effects: list[PredictionEffects] = []
    if extractor.ner is not None and words:
        effects += _effects(extractor.ner, post, ["entities"], words, extractor.long)
    if extractor.re is not None and extraction.relations:
        triples = sorted(extraction.relations, key=lambda triple: -triple.probability)
        triples = triples[:_MAX_RELATIONS]
        names = [f"{triple.head.text}, {triple.label}, {triple.tail.text}" for triple in triples]
        relations = []
        for triple in triples:
            head = _to_entity(extraction, triple.head)
            tail = _to_entity(extraction, triple.tail)
            relations.append(Relation(head, tail, triple.label))
        asked_post = replace(post, relations=tuple(relations))
        effects += _effects(extractor.re, asked_post, names, words, extractor.long)
    return effects


def _to_entity(extraction: Extraction, mention: Mention) -> Entity:
    """Convert a mention with offsets in characters to an entity with offsets in words."""
    starts, ends = zip(*extraction.offsets, strict=True)
    return Entity(starts.index(mention.start), ends.index(mention.end) + 1, mention.type)


def _effects(
    predictor: Predictor,
    post: Post[Any],
    names: Sequence[str],
    words: list[str],
    long: LongPosts,
) -> list[PredictionEffects]:
    """Compute the effects of the readable views on each prediction of a method.

    Args:
        predictor: The method.
        post: The post, with the relations to predict (RE).
        names: Name of each prediction.
        words: Words of the post.
        long: Treatment of long posts by the extractor.
    """
    form = predictor.format
    read = read_post(post, 0, [form] if form.num_views else [])
    views = [index for index, view in enumerate(read.views.get(form, ())) if view is not None]
    diagnosis = predictor.diagnose([read], long) if views else {}
    effects = []
    for row, name in enumerate(names):
        view_effects = [_view_effect(diagnosis, row, view, len(words)) for view in views]
        effects.append(PredictionEffects(about=name, words=words, effects=view_effects))
    return effects


def _view_effect(
    diagnosis: Mapping[str, Tensor], row: int, view: int, num_words: int
) -> ViewEffect:
    """Describe the effect of a view on a prediction.

    Args:
        diagnosis: Tensors with a row for each prediction: see `ExtractionModule.diagnose`.
        row: Row of the prediction.
        view: Index of the view.
        num_words: Number of the post's words; the method may have read fewer.
    """
    attention = None
    word_attention = None
    mass = diagnosis.get("prefix_mass")  # (predictions, layers, words, views)
    if mass is not None:
        first_word = int(diagnosis["first_word"][row])
        word_mass = mass[row, :, : num_words - first_word, view].mean(0)  # (words read,)
        attention = word_mass.mean().item()
        word_attention = [0.0] * first_word + word_mass.tolist()
    return ViewEffect(
        view=view,
        support=diagnosis["view_support"][row, view].item(),
        change=diagnosis["view_change"][row, view].item(),
        attention=attention,
        words=word_attention,
    )


def _view_images(post: Post[Any]) -> list[ViewImage]:
    """Return the pictures of a post at reduced size, or none if they are not decoded."""
    if not isinstance(post.image, Image.Image):
        return []
    images = [ViewImage(name="picture", image=_thumbnail(post.image))]
    for number, crop in enumerate(post.crops, start=1):
        images.append(ViewImage(name=f"crop {number}", image=_thumbnail(crop)))
    return images


def _thumbnail(picture: Image.Image) -> str:
    """Encode a picture at reduced size as a data URI."""
    small = picture.copy()
    small.thumbnail((_THUMBNAIL_SIDE, _THUMBNAIL_SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=_THUMBNAIL_QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()
