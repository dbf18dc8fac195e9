import base64
import io
import math

import pytest
import torch
from helpers.methods import build_module, perturb
from helpers.serving import picture_bytes
from PIL import Image

from mmie.app.explanation import explain
from mmie.data.pictures import load_picture
from mmie.data.words import split_words
from mmie.grounding.center import CenterCrops
from mmie.grounding.cropper import Cropper
from mmie.inference import Extractor
from mmie.inference.predictor import Predictor
from mmie.methods import DGHC, IMM, RAP, MLNet, RSRNeT, TextOnly
from mmie.types import Post

TEXT = "Ann met Bob"


@pytest.fixture(scope="module")
def explained(extractor):
    return explain(extractor, Post(id="1", text=TEXT, image=picture_bytes()))


def test_the_answer_is_the_same_as_without_explanation(extractor, explained):
    (plain,) = extractor.extract([Post(id="1", text=TEXT, image=picture_bytes())])
    assert explained[0].entities == plain.entities
    assert [triple.label for triple in explained[0].relations] == [
        triple.label for triple in plain.relations
    ]


def test_views_are_those_that_the_methods_saw(extractor, explained):
    picture = load_picture(picture_bytes())
    crops = extractor.cropper.crops(picture, TEXT.split())
    shown = [
        Image.open(io.BytesIO(base64.b64decode(view.image.partition(",")[2])))
        for view in explained[1].views
    ]
    assert [view.name for view in explained[1].views] == ["picture", "crop 1", "crop 2", "crop 3"]
    assert [view.size for view in shown] == [view.size for view in (picture, *crops)]


def test_support_is_the_log_probability_that_a_view_adds(extractor, explained):
    picture = load_picture(picture_bytes())
    crops = extractor.cropper.crops(picture, TEXT.split())
    alone = Extractor(extractor.ner, extractor.re)
    (whole,) = alone.extract([Post(id="1", text=TEXT, image=picture, crops=tuple(crops))])
    (less,) = alone.extract([Post(id="1", text=TEXT, image=picture, crops=tuple(crops[:2]))])
    for triple, other in zip(whole.relations, less.relations, strict=True):
        about = f"{triple.head.text}, {triple.label}, {triple.tail.text}"
        (reasons,) = [answer for answer in explained[1].answers if answer.about == about]
        gain = math.log(triple.probability) - math.log(other.probability)
        assert gain != 0
        assert reasons.effects[3].support == pytest.approx(gain, abs=1e-4)


def test_entities_come_first_and_attention_is_told_word_by_word(explained):
    first = explained[1].answers[0]
    assert (first.about, first.words) == ("entities", TEXT.split())
    assert [effect.view for effect in first.effects] == [0, 1, 2, 3]
    for effect in first.effects:
        assert len(effect.words) == 3
        assert effect.attention == pytest.approx(sum(effect.words) / 3)
        assert 0 < effect.attention < 1


@pytest.mark.parametrize("image", [None, b"no picture"])
def test_without_a_picture_no_view_had_a_part(extractor, image):
    extraction, explanation = explain(extractor, Post(id="1", text=TEXT, image=image))
    assert explanation.views == []
    assert all(answer.effects == [] for answer in explanation.answers)
    assert bool(extraction.problems) == (image is not None)


def test_a_text_without_words_is_explained(extractor):
    extraction, explanation = explain(extractor, Post(id="1", text=" ", image=picture_bytes()))
    assert extraction.problems == ("text: no words",)
    assert [effect for answer in explanation.answers for effect in answer.effects] == []


def test_words_beyond_what_is_read_get_no_attention(extractor):
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
def test_every_method_is_explained(demo_data, tiny_bert, method, settings):
    data = demo_data("ner", tiny_bert)
    module = perturb(build_module(method, data.schema, tiny_bert, **settings))
    answerer = Predictor(module, data.tokenizer, data.transform, False, torch.device("cpu"))
    image = picture_bytes()
    _, explanation = explain(
        Extractor(answerer, cropper=Cropper(CenterCrops())), Post(text=TEXT, image=image)
    )
    (reasons,) = explanation.answers
    assert [effect.view for effect in reasons.effects] == list(range(len(explanation.views)))
    assert len(explanation.views) == (0 if method is TextOnly else 4)
    assert all(math.isfinite(effect.support) for effect in reasons.effects)
    assert method is TextOnly or reasons.effects[0].change > 0
