"""Checks of pictures before decoding, and extraction with and without explanation."""

from dataclasses import replace

import pytest
from helpers.serving import UNREADABLE, picture_bytes

from mmie.app.limits import Limits
from mmie.app.service import PostRequest, Service, check_picture
from mmie.types import Post


def judged(data, **limits):
    """Return the request of a post with a picture, judged within limits."""
    return check_picture(PostRequest(Post(id="a", text=" ", image=data)), Limits(**limits))


@pytest.mark.parametrize("name", UNREADABLE)
def test_problem_of_a_picture_by_its_header(name):
    data, problem = UNREADABLE[name]
    if name == "truncated":
        assert judged(data).problem is None, "the header is whole"
        assert judged(data[:20]).problem == problem
    else:
        assert judged(data).problem == problem
        assert judged(data).post.image is None


def test_readable_pictures_and_no_picture_have_no_problem():
    assert judged(None) == PostRequest(Post(id="a", text=" "))
    request = judged(picture_bytes((96, 64)), max_pixels=96 * 64)
    assert (request.problem, request.decoded_bytes) == (None, 96 * 64 * 28)


def test_posts_without_explanation_are_extracted_together_and_in_order(fake_extractor):
    posts = [Post(id=name, text=name) for name in ("a", "b")]
    service = Service(fake_extractor, Limits())
    responses = service.extract(
        [PostRequest(posts[0]), PostRequest(Post(id="c", text="c"), True), PostRequest(posts[1])]
    )
    assert [response.id for response in responses] == ["a", "c", "b"]
    assert fake_extractor.batches == [["a", "b"], ["c"]]
    assert [response.explanation is None for response in responses] == [True, False, True]


@pytest.mark.parametrize("explain", [False, True])
def test_problem_of_the_picture_comes_first(extractor, explain):
    request = judged(picture_bytes(), max_pixels=100)
    (response,) = Service(extractor, Limits()).extract([replace(request, explain=explain)])
    assert response.problems == ["image: more than 100 pixels", "text: no words"]
