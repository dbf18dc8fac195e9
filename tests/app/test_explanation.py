"""Effects of views on predictions, and the views that an explanation shows."""

import base64
import io
import math
from dataclasses import replace

import pytest
import torch
from helpers.methods import build_module, perturb
from helpers.serving import picture_bytes
from PIL import Image

from mmie.app.explanation import _decode_views, _effects, explain
from mmie.data.pictures import load_picture
from mmie.data.words import split_words
from mmie.grounding.center import CenterCrops
from mmie.grounding.cropper import Cropper
from mmie.inference import Extractor
from mmie.inference.predictor import Predictor
from mmie.methods import DGHC, IMM, RAP, MLNet, RSRNeT, TextOnly
from mmie.types import Entity, Post, Relation

TEXT = "Ann met Bob"


@pytest.fixture(scope="module")
def explained(extractor):
    return explain(extractor, Post(id="1", text=TEXT, image=picture_bytes()))


def test_extraction_is_the_same_as_without_explanation(extractor, explained):
    (plain,) = extractor.extract([Post(id="1", text=TEXT, image=picture_bytes())])
    extraction, _ = explained
    assert extraction.entities == plain.entities
    labels = [triple.label for triple in extraction.relations]
    assert labels == [triple.label for triple in plain.relations]


def test_views_are_those_that_the_methods_used(extractor, explained):
    picture = load_picture(picture_bytes())
    crops = extractor.cropper.crops(picture, TEXT.split())
    views = explained[1].views
    assert [view.name for view in views] == ["picture", "crop 1", "crop 2", "crop 3"]
    sizes = []
    for view in views:
        data = base64.b64decode(view.image.partition(",")[2])
        sizes.append(Image.open(io.BytesIO(data)).size)
    assert sizes == [view.size for view in (picture, *crops)]


def test_support_is_the_log_probability_that_a_view_adds(extractor, explained):
    picture = load_picture(picture_bytes())
    crops = extractor.cropper.crops(picture, TEXT.split())
    alone = Extractor(extractor.ner, extractor.re)
    (all_views,) = alone.extract([Post(id="1", text=TEXT, image=picture, crops=tuple(crops))])
    (fewer,) = alone.extract([Post(id="1", text=TEXT, image=picture, crops=tuple(crops[:2]))])
    for triple, other in zip(all_views.relations, fewer.relations, strict=True):
        about = f"{triple.head.text}, {triple.label}, {triple.tail.text}"
        (effects,) = [entry.effects for entry in explained[1].answers if entry.about == about]
        gain = math.log(triple.probability) - math.log(other.probability)
        assert gain != 0
        assert effects[3].support == pytest.approx(gain, abs=1e-4)


def test_entities_come_first_with_attention_by_word(explained):
    first = explained[1].answers[0]
    assert (first.about, first.words) == ("entities", TEXT.split())
    assert [effect.view for effect in first.effects] == [0, 1, 2, 3]
    for effect in first.effects:
        assert len(effect.words) == 3
        assert effect.attention == pytest.approx(sum(effect.words) / 3)
        assert 0 < effect.attention < 1


@pytest.mark.parametrize("image", [None, b"no picture"])
def test_posts_without_a_readable_picture_have_no_effects(extractor, image):
    extraction, explanation = explain(extractor, Post(id="1", text=TEXT, image=image))
    assert explanation.views == []
    assert all(entry.effects == [] for entry in explanation.answers)
    assert bool(extraction.problems) == (image is not None)


def test_text_without_words_has_no_effects(extractor):
    extraction, explanation = explain(extractor, Post(id="1", text=" ", image=picture_bytes()))
    assert extraction.problems == ("text: no words",)
    assert all(entry.effects == [] for entry in explanation.answers)


def test_words_that_are_not_read_have_no_attention(extractor):
    text = "word " * 100
    _, explanation = explain(extractor, Post(id="1", text=text, image=picture_bytes()))
    weights = explanation.answers[0].effects[0].words
    assert 0 < len(weights) < len(split_words(text)) == len(explanation.answers[0].words)


TINY = {"vision_backbone": "test_resnet"}


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        (TextOnly, {}),
        (RSRNeT, TINY),
        (RAP, {**TINY, "num_fusion_layers": 2, "prompt_length": 4}),
        (DGHC, {"vision_backbone": "test_vit", "prompt_dim": 16}),
        (IMM, {"patch_size": 16}),
        (MLNet, {**TINY, "fusion_layers": 1, "lstm_size": 32}),
    ],
)
def test_explanation_of_each_method(demo_data, tiny_bert, method, settings):
    data = demo_data("ner", tiny_bert)
    module = perturb(build_module(method, data.schema, tiny_bert, **settings))
    predictor = Predictor(module, data.tokenizer, data.transform, False, torch.device("cpu"))
    extractor = Extractor(predictor, cropper=Cropper(CenterCrops()))
    _, explanation = explain(extractor, Post(text=TEXT, image=picture_bytes()))
    (entities,) = explanation.answers
    assert [effect.view for effect in entities.effects] == list(range(len(explanation.views)))
    assert len(explanation.views) == (0 if method is TextOnly else 4)
    assert all(math.isfinite(effect.support) for effect in entities.effects)
    assert method is TextOnly or entities.effects[0].change > 0


def test_effects_name_the_views_of_methods_for_one_and_for_two_pictures(
    extractor, demo_data, tiny_bert
):
    data = demo_data("ner", tiny_bert)
    schema = replace(data.schema, num_images=2)
    module = perturb(build_module(RSRNeT, schema, tiny_bert, **TINY))
    ner = Predictor(module, data.tokenizer, data.transform, False, torch.device("cpu"))
    both = Extractor(ner, extractor.re, extractor.cropper)
    pictures = [picture_bytes(seed=seed) for seed in range(2)]
    relation = Relation(Entity(0, 1), Entity(2, 3), "None")
    post = Post("1", ("Ann", "met", "Bob"), pictures[0], more_images=(pictures[1], b"x"))
    _, explanation = explain(both, replace(post, text=TEXT, words=()))
    names = ["picture 1", "picture 2", "crop 1", "crop 2", "crop 3"]
    assert [view.name for view in explanation.views] == names
    assert [effect.view for effect in explanation.answers[0].effects] == [0, 1, 2, 3, 4]
    decoded = _decoded(both, post, (relation,))
    (read,) = _effects(extractor.re, decoded, ["x"], TEXT.split(), "windows")
    assert [effect.view for effect in read.effects] == [0, 2, 3, 4]


def _decoded(extractor, post, relations):
    """Return a post with words, relations and decoded pictures."""
    decoded, problems = _decode_views(extractor, replace(post, text=TEXT))
    assert problems == []
    offsets = ((0, 3), (4, 7), (8, 11))
    return replace(decoded, words=post.words, offsets=offsets, relations=relations)
