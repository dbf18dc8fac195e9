"""Instances of posts: their views, shuffled pictures, and random draws."""

import random
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.posts import DESCRIBED, PERSON, PLACE, WORDS, make_schema, write_tokenizer

from mmie.data.encoding import WordTokenizer
from mmie.data.instances import (
    draw_share,
    encode_posts,
    instance_posts,
    mask_views,
    sample_crops,
    select_views,
    shuffle_pictures,
)
from mmie.types import UNKNOWN_LABEL, Entity, Post, Relation, Schema


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return write_tokenizer(tmp_path_factory.mktemp("encoder"))


def test_mask_views_removes_unreadable_files(tokenizer, tmp_path):
    a, b, c = (tmp_path / f"{name}.png" for name in "abc")
    instances = encode_posts(
        [Post("x", WORDS, a, (b, c)), Post("y", WORDS, b)], make_schema(tokenizer), tokenizer
    )
    mask_views(instances, {b: "missing"})
    assert [instance.views for instance in instances] == [(a, None, c), (None, None, None)]
    assert instances[0].post.crops == (b, c)


def posts_with_images(groups) -> list[Post]:
    """Posts in random order, ``groups[i]`` of image i, each with crops of its own."""
    posts = [
        Post(f"{image}-{n}", WORDS, Path(f"{image}.jpg"), (Path(f"{image}-{n}.png"),))
        for image, count in enumerate(groups)
        for n in range(count)
    ]
    return random.Random(0).sample(posts, len(posts))


@pytest.mark.parametrize(
    "groups", [[1] * 30, [1, 1], [5, 3, 2], [4, 4], [3, 1, 1, 1], [2, 7, 1, 1, 6, 1]]
)
def test_no_post_keeps_its_picture(groups):
    posts = posts_with_images(groups)
    for seed in range(10):
        shuffled = shuffle_pictures(posts, seed)
        assert all(post.image != other.image for post, other in zip(posts, shuffled, strict=True))
        assert sorted((post.image, post.crops) for post in shuffled) == sorted(
            (post.image, post.crops) for post in posts
        )
        assert [replace(post, image=None, crops=()) for post in shuffled] == [
            replace(post, image=None, crops=()) for post in posts
        ]


def test_shuffling_is_seeded():
    posts = posts_with_images([1] * 30)
    assert shuffle_pictures(posts, 1) == shuffle_pictures(posts, 1) != shuffle_pictures(posts, 2)


def test_posts_without_pictures_stay_without():
    bare, crop = Post("bare", WORDS), Post("crop", WORDS, None, (Path("c.png"),))
    shuffled = shuffle_pictures([bare, *posts_with_images([1, 1]), bare, crop], 0)
    assert shuffled[0] == shuffled[3] == bare
    assert shuffled[4].crops != crop.crops


def test_shuffling_posts_that_cannot_be_shuffled():
    assert shuffle_pictures([], 0) == []
    assert shuffle_pictures([Post("x", WORDS)], 0) == [Post("x", WORDS)]
    one_image = posts_with_images([3])
    assert shuffle_pictures(one_image, 0) == one_image
    mostly_one = shuffle_pictures(posts_with_images([5, 1]), 0)
    assert sorted(post.image for post in mostly_one) == [Path("0.jpg")] * 5 + [Path("1.jpg")]


def test_shuffling_keeps_contexts():
    posts = [replace(post, context=post.id) for post in posts_with_images([1] * 10)]
    assert [post.context for post in shuffle_pictures(posts, 3)] == [post.id for post in posts]


def test_every_relation_of_a_post_gets_its_context(tokenizer):
    relations = (Relation(PERSON, PLACE, "works"), Relation(PLACE, PERSON, "None"))
    posts = [replace(DESCRIBED[0], relations=relations)]
    plain, described = (
        encode_posts(posts, make_schema(tokenizer, "re"), tokenizer, use_context)
        for use_context in (False, True)
    )
    for without, with_context in zip(plain, described, strict=True):
        assert with_context.text.input_ids[: len(without)] == without.text.input_ids
        assert with_context.text.context_length == 4
        assert with_context.text.markers == without.text.markers


def test_an_instance_of_a_post(tokenizer):
    """An entity of an unknown type is tagged as outside."""
    post = Post("x", WORDS, entities=(PERSON, Entity(3, 4, "ALIEN"), PLACE))
    (instance,) = encode_posts([post], make_schema(tokenizer), tokenizer)
    assert instance.post is post
    assert (instance.relation, instance.label) == (None, UNKNOWN_LABEL)
    assert instance.text == tokenizer.encode(tokenizer.split([WORDS])[0])
    assert instance.tags == [5, 6, 0, 0, 0, 0, 0, 1]
    assert instance.views == (None, None, None)
    assert len(instance) == len(instance.text)


def test_an_instance_of_each_relation(tokenizer):
    relations = tuple(Relation(PERSON, PLACE, label) for label in ("works", "None", "unknown"))
    posts = [Post("x", WORDS, relations=relations), Post("none", WORDS)]
    instances = encode_posts(posts, make_schema(tokenizer, "re"), tokenizer)
    assert [instance.relation for instance in instances] == list(relations)
    assert [instance.label for instance in instances] == [2, 0, UNKNOWN_LABEL]
    assert [instance.tags for instance in instances] == [[], [], []]
    expected = tokenizer.encode_pair(tokenizer.split([WORDS])[0], relations[0])
    assert all(instance.text == expected for instance in instances)


def test_truncated_instances(tokenizer):
    short = WordTokenizer(tokenizer.tokenizer, 8)
    posts = [Post("long", ("a",) * 7), Post("fits", ("a",) * 6)]
    instances = encode_posts(posts, make_schema(short), short)
    assert [instance.is_truncated for instance in instances] == [True, False]


def test_views_are_cut_or_filled_up():
    a, b, c = (Path(name) for name in "abc")
    schema = Schema("ner", ("PER",), 10, num_objects=1)
    assert select_views(Post(image=a, crops=(b, c)), schema) == (a, b)
    assert select_views(Post(image=a, crops=(b,)), replace(schema, num_objects=3)) == (
        a,
        b,
        None,
        None,
    )
    assert select_views(Post(), replace(schema, num_objects=2)) == (None, None, None)
    assert select_views(Post(image=a, crops=(b, c)), replace(schema, num_objects=0)) == (a,)


def test_pictures_precede_crops():
    a, b, c, d = (Path(name) for name in "abcd")
    schema = Schema("ner", ("PER",), 10, num_objects=1, num_images=2)
    assert schema.num_views == 3
    assert select_views(Post(image=a, more_images=(b, c), crops=(d,)), schema) == (a, b, d)
    assert select_views(Post(image=a, crops=(d,)), schema) == (a, None, d)
    assert select_views(Post(more_images=(b,), crops=(d,)), schema) == (b, None, d)


def test_pictures_of_a_post_are_shuffled_together():
    posts = []
    for number in range(4):
        files = [Path(f"{name}{number}") for name in "abc"]
        posts.append(Post(str(number), ("x",), files[0], files[1:2], more_images=(files[2],)))
    shuffled = shuffle_pictures(posts, 1)
    for post, given in zip(posts, shuffled, strict=True):
        source = next(other for other in posts if other.image == given.image)
        assert source is not post
        assert (given.more_images, given.crops) == (source.more_images, source.crops)


def test_crops_are_drawn_from_those_that_can_be_read(tokenizer):
    crops = tuple(Path(f"{n}.png") for n in range(5))
    post = Post("x", WORDS, Path("a.png"), crops)
    (instance,) = encode_posts([post], make_schema(tokenizer, num_objects=5), tokenizer)
    mask_views([instance], {crops[1]: "missing"})
    schema = make_schema(tokenizer, num_objects=3)
    drawn = [sample_crops(instance, schema, f"{seed}").views for seed in range(40)]
    assert all(views[0] == post.image and len(set(views)) == 4 for views in drawn)
    assert {crop for views in drawn for crop in views[1:]} == set(crops) - {crops[1]}
    assert drawn[7] == sample_crops(instance, schema, "7").views
    many = make_schema(tokenizer, num_objects=5)
    assert set(sample_crops(instance, many, "0").views[1:]) == {*crops, None} - {crops[1]}
    assert instance.views == (post.image, crops[0], None, *crops[2:])


def test_a_share_of_instances_is_drawn_in_order(tokenizer):
    posts = [Post(str(n), ("a",)) for n in range(20)]
    instances = encode_posts(posts, make_schema(tokenizer), tokenizer)
    drawn = [int(instance.post.id) for instance in draw_share(instances, 0.3, 1)]
    assert len(drawn) == 6
    assert drawn == sorted(set(drawn))
    assert [int(i.post.id) for i in draw_share(instances, 0.3, 1)] == drawn
    assert [int(i.post.id) for i in draw_share(instances, 0.3, 2)] != drawn
    assert len(draw_share(instances, 0.001, 1)) == 1
    assert draw_share(instances, 1.0, 1) == instances


def test_a_post_stands_for_each_instance_of_a_task(tmp_path):
    pair = Relation(PERSON, PLACE, "lives"), Relation(PLACE, PERSON, "works")
    posts = [Post("1", WORDS, entities=(PERSON, PLACE), relations=pair), Post("2", WORDS)]
    tokenizer = write_tokenizer(tmp_path)
    for task in ("ner", "re"):
        instances = encode_posts(posts, make_schema(tokenizer, task), tokenizer)
        singles = instance_posts(posts, task)
        assert [post.id for post in singles] == [instance.post.id for instance in instances]
    assert [post.relations for post in instance_posts(posts, "re")] == [pair[:1], pair[1:]]
    assert [post.entities for post in instance_posts(posts, "re")] == [(), ()]
    assert [post.entities for post in instance_posts(posts, "ner")] == [(PERSON, PLACE), ()]
    assert [post.relations for post in instance_posts(posts, "ner")] == [(), ()]
