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
from mmie.data.words import split_words
from mmie.inference import Extractor
from mmie.inference.predictor import Predictor
from mmie.inference.reading import decode_images, read_post
from mmie.types import Entity, Extraction, Mention, Post, Relation

_THUMBNAIL_SIDE = 320
"""Longer side of the pictures in an explanation, in pixels."""
_THUMBNAIL_QUALITY = 80
"""JPEG quality of the pictures in an explanation."""
_MAX_RELATIONS = 12
"""Most relations that are explained, by probability: each takes one pass more for every view."""


def explain(extractor: Extractor, post: Post[Any]) -> tuple[Extraction, Explanation]:
    """Extract from a post, and compute the effects of its views on the predictions.

    Pictures are decoded and crops cut only once, so that the explanation shows the views that the
    methods used.

    Args:
        extractor: Finds entities and relations.
        post: The post.

    Returns:
        The extraction and its explanation.
    """
    decoded, problems = _decode_views(extractor, post)
    (extraction,) = extractor.extract([decoded])
    extraction = replace(extraction, problems=(*problems, *extraction.problems))
    effects = _prediction_effects(extractor, decoded, extraction)
    return extraction, Explanation(views=_view_images(decoded), answers=effects)


def _decode_views(extractor: Extractor, post: Post[Any]) -> tuple[Post[Any], list[str]]:
    """Decode a post's pictures and cut the crops of the first one.

    Returns:
        The decoded post, without pictures that cannot be read; the same post if no method uses
        images. A line for each picture that cannot be read.
    """
    formats = extractor.formats
    problems: list[str] = []
    if not formats:
        return post, problems
    max_pixels = max(form.transform.max_pixels for form in formats)
    decoded = decode_images(post, max(form.num_images for form in formats), max_pixels, problems)
    pictures = [picture for picture in decoded if picture is not None]
    if not pictures:
        return Post(id=post.id, text=post.text), problems
    crops: list[Image.Image] = []
    num_crops = max(form.num_crops for form in formats)
    if extractor.cropper is not None and num_crops > 0:
        words = [word for word, _, _ in split_words(post.text or "")]
        crops = extractor.cropper.crops(pictures[0], words)[:num_crops]
    first, *further = pictures
    bare: Post[Any] = Post(id=post.id, text=post.text)
    return replace(bare, image=first, more_images=tuple(further), crops=tuple(crops)), problems


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
        view_effects = []
        for view in views:
            effect = _view_effect(diagnosis, row, view, len(words))
            is_crop = view >= form.num_images
            shown = view - form.num_images + len(post.images) if is_crop else view
            view_effects.append(effect.model_copy(update={"view": shown}))
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
    images = []
    for number, picture in enumerate(post.images, start=1):
        name = f"picture {number}" if post.more_images else "picture"
        images.append(ViewImage(name=name, image=_thumbnail(picture)))
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
