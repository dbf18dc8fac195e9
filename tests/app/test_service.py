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
        assert judged(data).problems == (), "the header is whole"
        assert judged(data[:20]).problems == (f"image: {problem}",)
    else:
        assert judged(data).problems == (f"image: {problem}",)
        assert judged(data).post.image is None


def test_readable_pictures_and_no_picture_have_no_problem():
    assert judged(None) == PostRequest(Post(id="a", text=" "))
    request = judged(picture_bytes((96, 64)), max_pixels=96 * 64)
    assert (request.problems, request.decoded_bytes) == ((), 96 * 64 * 28)


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


def test_pictures_of_a_post_are_judged_one_by_one_and_weighed_together():
    small, large = picture_bytes((96, 64)), picture_bytes((200, 200))
    post = Post(id="a", text="x", image=large, more_images=(small, b"no picture", small))
    size = 96 * 64 * 28
    request = check_picture(PostRequest(post), Limits(max_pixels=10_000, max_decoded=2 * size))
    assert request.post.images == (small, small)
    assert request.decoded_bytes == 2 * size
    assert request.problems[0] == "image 1: more than 10000 pixels"
    assert request.problems[1].startswith("image 3: not a picture")
    request = check_picture(PostRequest(post), Limits(max_pixels=10_000, max_decoded=size))
    assert request.post.images == (small,)
    assert request.problems[2] == f"image 4: more than {size} bytes when all are decoded"
