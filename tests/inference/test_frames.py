"""Rows of a pandas frame are posts, and results become columns."""

import pytest
from helpers.extractions import make_extraction

from mmie.inference.frames import is_frame, read_frame, with_columns
from mmie.inference.reading import PostError
from mmie.types import Post

pd = pytest.importorskip("pandas")


def test_rows_are_posts_named_by_the_index():
    frame = pd.DataFrame({"said": ["Ann", "Bob"], "photo": ["a.jpg", None]}, index=["x", 7])
    assert list(read_frame(frame, "said", "photo")) == [
        Post(id="x", text="Ann", image="a.jpg"),
        Post(id="7", text="Bob"),
    ]
    assert next(read_frame(frame, "said", None)) == Post(id="x", text="Ann")


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA])
def test_missing_values_are_an_empty_text_and_no_picture(missing):
    frame = pd.DataFrame({"text": [missing], "image": [missing]}, dtype=object)
    assert list(read_frame(frame, "text", "image")) == [Post(id="0", text="")]


def test_a_missing_column_is_named():
    frame = pd.DataFrame({"said": ["Ann"]})
    with pytest.raises(PostError, match="the frame has no column 'text': it has said"):
        list(read_frame(frame, "text", None))
    with pytest.raises(PostError, match="no column 'image'"):
        list(read_frame(frame, "said", "image"))


def test_results_are_new_columns_of_a_copy():
    frame = pd.DataFrame({"text": ["Ann", "Bob"]}, index=["x", "y"])
    first = make_extraction("x", [("Ann", "PER", 0.5)], problems=["image: missing"])
    result = with_columns(frame, [first, make_extraction("y", [])])
    assert list(frame.columns) == ["text"]
    assert list(result.index) == ["x", "y"]
    assert result["entities"]["x"] == [
        {"text": "Ann", "type": "PER", "start": 0, "end": 3, "probability": 0.5}
    ]
    assert result["entities"]["y"] == result["relations"]["x"] == result["problems"]["y"] == []
    assert result["problems"]["x"] == ["image: missing"]


def test_a_frame_is_told_from_a_list():
    assert is_frame(pd.DataFrame())
    assert not is_frame([Post(text="Ann")])


def test_a_picture_may_be_a_list_of_pictures():
    frame = pd.DataFrame({"text": ["a", "b", "c"], "image": [["a.jpg", "b.jpg"], [], "c.jpg"]})
    images = [post.images for post in read_frame(frame, "text", "image")]
    assert images == [("a.jpg", "b.jpg"), (), ("c.jpg",)]
