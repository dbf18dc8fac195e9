"""Words and tags in columns: layouts that are found, schemes, ids, and lines that are wrong."""

import pytest
from helpers.formats import CONLL_2003, JORDAN, read, tagged, write_text

from mmie.data import Twitter2017
from mmie.formats import FORMATS, FormatError, Notes


def test_conll_2003(tmp_path):
    posts, bad, notes = read(write_text(tmp_path / "train.txt", CONLL_2003))
    assert [post["words"] for post in posts] == [
        ["Ann", "Lee", "sees", "Rome", "Paris"],
        ["It", "rains"],
    ]
    assert tagged(posts[0]) == [("Ann Lee", "PER"), ("Rome", "LOC"), ("Paris", "LOC")]
    assert bad == []
    assert notes.found == ["words in column 1, tags in column 4 of 4 (IOB1), separated by blanks"]
    assert notes.unused == {"marks of documents (-DOCSTART-)": 1}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("B-PER\tAnn\nO\tis\n", "words in column 2, tags in column 1 of 2 (BIO)"),
        ("Ann _ _ B-PER\nis _ _ O\n", "words in column 1, tags in column 4 of 4 (BIO)"),
        ("1\tAnn\tU-PER\n2\tis\tO\n", "words in column 2, tags in column 3 of 3 (BILOU)"),
        ("Ann S-PER\nis O\n", "words in column 1, tags in column 2 of 2 (BIOES)"),
        ("Ann PER\nis O\n", "words in column 1, tags in column 2 of 2 (IO without prefixes)"),
        ("Ann I-PER\nis O\n", "words in column 1, tags in column 2 of 2 (IO)"),
        ("# id = 7\nAnn B_PER\nis O\n", "words in column 1, tags in column 2 of 2 (BIO)"),
    ],
)
def test_columns_and_schemes_are_found_and_said(tmp_path, text, found):
    (post,), bad, notes = read(write_text(tmp_path / "posts.txt", text), "conll")
    assert (post["words"], tagged(post), bad) == (["Ann", "is"], [("Ann", "PER")], [])
    assert notes.found[0].startswith(found)


def test_columns_are_set_and_ids_of_tags_named(tmp_path):
    file = write_text(tmp_path / "posts.txt", "Ann\tann\t1\nsees\tsee\t0\n")
    (post,), _, _ = read(
        file, "conll", columns={"words": "2", "tags": "3"}, tag_names=("O", "B-PER")
    )
    assert (post["words"], tagged(post)) == (["ann", "see"], [("ann", "PER")])
    for column in ("0", "4", "x", "²"):
        with pytest.raises(FormatError, match="expected the number of a column, 1 to 3"):
            read(file, "conll", columns={"tags": column})
    with pytest.raises(FormatError, match="expected a column of tags"):
        read(file, "conll")


def test_ids_and_comments(tmp_path):
    text = "# id = 7\n# text = Ann is\nAnn\tB-PER\n#\tO\n\n# id 8 domain=train\n#\tO\nis\tO\n"
    posts, bad, notes = read(write_text(tmp_path / "posts.conll", text))
    assert [(post["id"], post["words"]) for post in posts] == [
        ("7", ["Ann", "#"]),
        ("8", ["#", "is"]),
    ]
    assert (bad, notes.unused) == ([], {"comments": 1})


def test_imgid_names_a_picture_that_is_looked_for(tmp_path):
    text = "IMGID:7\nAnn\tB-PER\n\nIMGID:8\nRome\tB-OTHER\n"
    file = write_text(tmp_path / "data" / "train.txt", text)
    picture = write_text(tmp_path / "twitter_images" / "7.jpg", "")
    posts, _, notes = read(file)
    assert [post.get("image") for post in posts] == [picture, None]
    assert notes.unused == {"names of pictures (IMGID) that are not found": 1}
    posts, _, _ = read(file, pictures=tmp_path)
    assert [post.get("image") for post in posts] == [None, None]


@pytest.mark.parametrize(
    ("text", "place", "reason"),
    [
        ("IMGID:1\nAnn\tB-PER\n\nis\tO\n\nIMGID:2\nis\tO\n", "line 4", "more words of the same"),
        ("IMGID:1\n\nIMGID:2\nAnn\tB-PER\n", "line 1", "expected words after the id"),
        ("Ann\tB-PER\n\nis\tO\nodd\tTAG\n" + "is\tO\n" * 40, "line 4", "expected a tag such as"),
        ("Ann\tB-PER\n\nis\nis\tO\n" + "is\tO\n" * 40, "line 3", "expected 2 columns"),
        ("Ann\tB-PER\n\n\udc00\tO\n", "line 3", "expected UTF-8"),
    ],
)
def test_a_post_with_a_wrong_line_is_named(tmp_path, text, place, reason):
    file = tmp_path / "posts.txt"
    file.write_bytes(text.encode(errors="surrogateescape" if "\udc00" not in text else "replace"))
    if "\udc00" in text:
        file.write_bytes(text.encode(errors="replace").replace(b"?", b"\xff"))
    posts, (bad,), _ = read(file, "conll")
    assert len(posts) == 1
    assert bad.place == place
    assert reason in bad.reason


def test_written_posts_are_read_by_the_twitter_corpus(tmp_path):
    file = tmp_path / "train.txt"
    record = {**JORDAN, "relations": [], "context": "a jet", "entities": JORDAN["entities"][:1]}
    notes = Notes()
    FORMATS["conll"].write([record, {"id": "d", "words": ["a\tb"]}], file, notes)
    (post,) = Twitter2017(tmp_path).posts("train")
    assert list(post.words) == JORDAN["words"]
    assert notes.unused == {
        "context that the format cannot hold": 1,
        "posts with a tab or a line end in a word, type or id": 1,
    }


@pytest.mark.parametrize(
    ("name", "posts", "entities"),
    [
        ("twitter2015/valid.txt", 1000, 1594),
        ("twitter2017/valid.txt", 723, 1324),
        ("gmner/dev.txt", 1500, 2450),
    ],
)
def test_real_corpora(shared_data, name, posts, entities):
    found, bad, _ = read(shared_data / name)
    assert bad == []
    assert len(found) == posts
    assert sum(len(post.get("entities", [])) for post in found) == entities
