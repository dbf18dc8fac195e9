"""Tables of posts and their delimiters."""

import pytest

from mmie.data.sources import SourceError
from mmie.data.sources.tables import read_table


def read(tmp_path, text, name="posts.csv", delimiter=None):
    return list(read_table(text.splitlines(keepends=True), tmp_path / name, tmp_path, delimiter))


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_in_the_first_row(tmp_path, delimiter):
    text = f"id{delimiter}text \r\n1{delimiter}a b\r\n"
    for name in ("posts.csv", "posts.tsv"):
        (post,) = read(tmp_path, text, name)
        assert (post.id, post.text) == ("1", "a b")


def test_the_delimiter_is_given(tmp_path):
    (post,) = read(tmp_path, "id:text\n1:a\n", delimiter=":")
    assert post.text == "a"
    with pytest.raises(SourceError, match="is set by --delimiter"):
        read(tmp_path, "id:text\n1:a\n")
    (post,) = read(tmp_path, "sep=:\nid:text\n1:a\n")
    assert post.id == "1"


def test_bad_rows_have_their_ids(tmp_path):
    _, bad, wide = read(tmp_path, "id,text,image\n1,a,\n7,b,../c.jpg\n8,d,e,f\n")
    assert (bad.place, bad.id, bad.kind) == ("3", "7", "picture")
    assert (wide.place, wide.kind) == ("4", "row")
