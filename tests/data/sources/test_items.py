"""Posts that cannot be read."""

from mmie.data.parsing import MalformedLine
from mmie.data.sources.items import BadPost, find_id, list_names


def test_a_bad_post_of_an_error():
    bad = BadPost.of("3", MalformedLine("a row", "none", kind="row"), "7")
    assert bad == BadPost("3", "expected a row, found none", "row", "7")


def test_ids_of_objects_that_are_no_posts():
    assert find_id('{"id": "a", "text": 1}') == "a"
    for text in ("[]", "3", "{", '{"id": true}', '{"id": null}', "[" * 100_000):
        assert find_id(text) == ""


def test_many_names_are_counted():
    assert list_names("abc") == "'a', 'b', 'c'"
    assert list_names(map(str, range(12))).endswith("'9' and 2 more")
