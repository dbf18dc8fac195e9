"""Checks of pictures before decoding, and extraction with and without explanation."""

import pytest
from helpers.serving import UNREADABLE, picture_bytes

from mmie.app.service import PostRequest, Service, picture_problem
from mmie.types import Post


@pytest.mark.parametrize("name", UNREADABLE)
def test_problem_of_a_picture_by_its_header(name):
    data, problem = UNREADABLE[name]
    if name == "truncated":
        assert picture_problem(data, 25_000_000) is None, "the header is whole"
        assert picture_problem(data[:20], 25_000_000) == problem
    else:
        assert picture_problem(data, 25_000_000) == problem


def test_readable_pictures_and_no_picture_have_no_problem():
    assert picture_problem(None, 1) is None
    assert picture_problem(picture_bytes((96, 64)), 96 * 64) is None
    assert picture_problem(picture_bytes((96, 64)), 96 * 64 - 1) == "more than 6143 pixels"


def test_posts_without_explanation_are_extracted_together_and_in_order(fake_extractor):
    posts = [Post(id=name, text=name) for name in ("a", "b")]
    service = Service(fake_extractor, max_pixels=100)
    responses = service.extract(
        [PostRequest(posts[0]), PostRequest(Post(id="c", text="c"), True), PostRequest(posts[1])]
    )
    assert [response.id for response in responses] == ["a", "c", "b"]
    assert fake_extractor.batches == [["a", "b"], ["c"]]
    assert [response.explanation is None for response in responses] == [True, False, True]


@pytest.mark.parametrize("explain", [False, True])
def test_problem_of_the_picture_comes_first(extractor, explain):
    service = Service(extractor, max_pixels=100)
    post = Post(id="a", text=" ", image=picture_bytes())
    (response,) = service.extract([PostRequest(post, explain)])
    assert response.problems == ["image: more than 100 pixels", "text: no words"]
