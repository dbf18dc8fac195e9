"""Prediction for windows of posts: batches, views and shared features of frozen backbones."""

import pytest
import torch
from helpers.methods import copy_state, equal_states, make_batch
from PIL import Image

from mmie.blocks.vision import VisualBackbone
from mmie.checkpoints import read_checkpoint
from mmie.data.instances import encode_posts
from mmie.data.pictures import ImageTransform
from mmie.inference.predictor import Predictor, WindowViews
from mmie.inference.reading import ViewFormat, read_post
from mmie.methods import DGHC, TextOnly
from mmie.types import Entity, Post, Relation

CPU = torch.device("cpu")
RED, GREEN = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "lime")


def load_predictor(checkpoint, **settings):
    """Load the predictor of a checkpoint file."""
    return Predictor.from_checkpoint(read_checkpoint(checkpoint), CPU, **settings)


@pytest.fixture
def ner(random_pair):
    return load_predictor(random_pair["ner"])


@pytest.fixture
def re(random_pair):
    return load_predictor(random_pair["re"])


def read_posts(posts, *predictors):
    """Read posts in the formats of predictors."""
    formats = list(dict.fromkeys(predictor.format for predictor in predictors))
    return [read_post(post, index, formats) for index, post in enumerate(posts)]


def count_pictures(predictor):
    """Return a list that receives the number of pictures of each batch of a backbone."""
    counts = []
    for part in predictor.method.modules():
        if isinstance(part, VisualBackbone):
            part.register_forward_hook(lambda _, inputs, __: counts.append(len(inputs[0])))
    return counts


def test_each_distinct_view_of_a_window_is_stored_once():
    form = ViewFormat(ImageTransform(16, "squash", 10_000), 2)
    posts = [
        Post(text="a", image=RED, crops=(GREEN,)),
        Post(text="b"),
        Post(text="c", crops=(RED,)),
    ]
    reads = [read_post(post, index, [form]) for index, post in enumerate(posts)]
    views = WindowViews.of(reads, form)
    red, green = form.transform.to_view(RED), form.transform.to_view(GREEN)
    assert torch.equal(views.pixels, torch.stack([red, green]))
    assert views.rows.tolist() == [[0, 1], [-1, -1], [-1, 0]]
    assert views.mask([2, 0]).tolist() == [[False, True], [True, True]]
    blank = torch.zeros_like(red)
    expected = torch.stack([torch.stack([blank, red]), torch.stack([red, green])])
    assert torch.equal(views.spread_pixels([2, 0]), expected)


@pytest.mark.parametrize("method", [TextOnly, DGHC])
def test_predictions_are_those_of_the_method(
    method, save_checkpoint, demo_posts, demo_data, tiny_bert
):
    """One method uses no images, and the other one reads pixels."""
    arguments = {} if method is TextOnly else {"vision_backbone": "test_vit"}
    predictor = load_predictor(save_checkpoint(method, "ner", **arguments))
    data = demo_data("ner", tiny_bert)
    with torch.no_grad():
        expected = predictor.method(make_batch(data, data.instances["test"]))
    predictions = predictor.predict(read_posts(demo_posts, predictor), {})
    assert any(prediction.entities for prediction in expected)
    for (prediction,), other in zip(predictions, expected, strict=True):
        assert (prediction.id, prediction.entities) == (other.id, other.entities)
        assert len(prediction.probabilities) == len(prediction.entities)


def test_posts_without_words_have_no_prediction(ner):
    posts = [Post(text=""), Post(text="Jordan lands"), Post(text=" ")]
    predictions = ner.predict(read_posts(posts, ner), {})
    assert [len(of_post) for of_post in predictions] == [0, 1, 0]
    assert ner.predict([], {}) == []


def test_every_relation_of_a_post_has_a_prediction(re):
    ann, bob = Entity(0, 1, "PER"), Entity(2, 3, "PER")
    relations = (Relation(ann, bob, ""), Relation(bob, ann, ""))
    words = ("Ann", "met", "Bob")
    posts = [Post(words=words), Post(words=words, relations=relations)]
    none, both = re.predict(read_posts(posts, re), {})
    assert none == []
    first, second = [prediction.relations[0] for prediction in both]
    assert (first.head, first.tail) == (ann, bob)
    assert (second.head, second.tail) == (bob, ann)
    assert all(len(prediction.relations) == 1 for prediction in both)


def test_words_beyond_the_limit_are_a_problem_of_entities_alone(ner, re):
    long = Post(text="Jordan lands " * 100)
    (read,) = read_posts([long], ner)
    (instance,) = encode_posts([read.post], ner.schema, ner.tokenizer, False)
    ner.predict([read], {}, "truncate")
    num_words = instance.text.num_words
    assert 0 < num_words < 200
    assert read.problems == [f"text: only the first {num_words} of 200 words were read"]
    (read,) = read_posts([long], re)
    re.predict([read], {}, "truncate")
    assert read.problems == []


def test_a_picture_passes_a_shared_backbone_once_in_a_window(random_pair, demo_posts):
    predictor = load_predictor(random_pair["ner"], batch_size=5)
    same_backbone = load_predictor(random_pair["ner"], batch_size=5)
    counts, other_counts = count_pictures(predictor), count_pictures(same_backbone)
    reads = read_posts(demo_posts, predictor)
    features = {}
    predictions = predictor.predict(reads, features)
    views = [view for read in reads for view in read.views[predictor.format]]
    num_views = len({view.numpy().tobytes() for view in views if view is not None})
    assert sum(counts) == num_views
    assert max(counts) == 5
    (rows,) = features.values()
    assert len(rows) == num_views
    assert same_backbone.predict(reads, features) == predictions
    assert other_counts == []
    assert len(features) == 1
    assert same_backbone.predict(reads, {}) == predictions
    assert other_counts == counts


def test_other_weights_do_not_share_features(random_pair, demo_posts):
    predictors = [load_predictor(random_pair[task]) for task in ("ner", "re")]
    backbones = [predictor.method.vision for predictor in predictors]
    assert not equal_states(*map(copy_state, backbones))
    reads = read_posts(demo_posts, *predictors)
    features = {}
    for predictor in predictors:
        predictor.predict(reads, features)
    assert len(features) == 2


def test_pictures_of_posts_without_words_are_not_computed(ner, demo_posts):
    image = next(post.image for post in demo_posts if post.image is not None)
    counts = count_pictures(ner)
    ner.predict(read_posts([Post(text="", image=image)], ner), {})
    assert counts == []
    ner.predict(read_posts([Post(text="", image=image), Post(text="a", image=image)], ner), {})
    assert counts == [1]


def test_a_diagnosis_has_a_row_for_each_post_or_relation(ner, re, demo_posts):
    reads = read_posts(demo_posts[:3], ner)
    assert ner.diagnose(reads)["view_support"].shape == (3, ner.format.num_views)
    reads = read_posts(demo_posts, re)
    num_relations = sum(len(post.relations) for post in demo_posts)
    assert len(re.diagnose(reads)["view_support"]) == num_relations
    assert ner.diagnose(read_posts([Post(text="")], ner)) == {}


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [("auto", torch.float32), ("float32", torch.float32), ("bfloat16", torch.bfloat16)],
)
def test_the_precision_is_that_of_the_computation(random_pair, precision, dtype):
    predictor = load_predictor(random_pair["ner"], precision=precision)
    dtypes = []
    predictor.method.head.emission.register_forward_hook(
        lambda module, inputs, output: dtypes.append(output.dtype)
    )
    predictor.predict(read_posts([Post(text="Jordan lands")], predictor), {})
    assert set(dtypes) == {dtype}
