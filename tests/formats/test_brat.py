"""Documents of brat: entities, relations, what is not used, and files that are wrong."""

import pytest
from helpers.formats import BRAT_ANN, BRAT_TEXT, read, tagged, write_text

from mmie.formats import FORMATS, FormatError, Notes


@pytest.fixture
def folder(tmp_path):
    """A folder of two documents, one of them in a folder below."""
    write_text(tmp_path / "brat" / "one.txt", BRAT_TEXT)
    write_text(tmp_path / "brat" / "one.ann", BRAT_ANN)
    write_text(tmp_path / "brat" / "sub" / "two.txt", "nobody")
    write_text(tmp_path / "brat" / "sub" / "two.ann", "")
    write_text(tmp_path / "brat" / "one.png", "")
    return tmp_path / "brat"


def test_a_folder(folder):
    posts, bad, notes = read(folder)
    assert [post["id"] for post in posts] == ["one", "sub/two"]
    assert tagged(posts[0]) == [("Ann Lee", "PER"), ("North", "LOC")]
    assert posts[0]["image"] == folder / "one.png"
    sees, inside = posts[0]["relations"]
    assert (sees["head"]["type"], sees["tail"]["type"], sees["label"]) == ("PER", "LOC", "sees")
    assert (inside["head"]["type"], inside["label"]) == ("LOC", "in")
    assert bad == []
    assert notes.unused == {
        "entities of several pieces": 1,
        "relations of entities of several pieces": 1,
        "events": 1,
        "attributes": 1,
        "notes": 1,
        "equivalences": 1,
    }


@pytest.mark.parametrize("name", ["one.ann", "one.txt"])
def test_one_pair(folder, name):
    (post,), _, _ = read(folder / name)
    assert (post["id"], post["text"]) == ("one", BRAT_TEXT)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("T1\tPER 0 6\tAnn Lee", "one.ann:1: expected the text 'Ann Lee' at characters 0 to 6"),
        ("T1\tPER 0 99\tAnn Lee", "expected the text"),
        ("T1\tPER 0 9999999999\tAnn Lee", "expected offsets within the text"),
        ("T1 PER 0 7 Ann Lee", "expected an annotation of brat"),
        ("R1\tsees Arg1:T8 Arg2:T9", "expected an entity that is there, found T8"),
        ("T1\tPER 3 3\t", "expected an entity with 0 <= start < end"),
    ],
)
def test_a_wrong_annotation_names_its_document(folder, line, reason):
    write_text(folder / "one.ann", line)
    posts, (bad,), _ = read(folder)
    assert [post["id"] for post in posts] == ["sub/two"]
    assert reason in f"{bad.place}: {bad.reason}"


def test_lone_and_undecodable_files_are_named(folder):
    (folder / "sub" / "two.txt").unlink()
    write_text(folder / "three.txt", "alone")
    (folder / "one.txt").write_bytes(b"\xff")
    posts, bad, _ = read(folder)
    assert posts == []
    assert [item.reason for item in bad] == [
        "expected UTF-8 text, found invalid start byte in one.txt",
        "expected a file two.txt, found none",
        "expected a file three.ann, found none",
    ]


def test_ids_that_are_no_file_names_are_changed_and_counted(tmp_path):
    notes = Notes()
    records = [{"id": name, "text": "Ann"} for name in ("../x", "a/b", "a_b", "..", "A_B")]
    FORMATS["brat"].write(records, tmp_path / "out", notes)
    names = sorted(path.name for path in (tmp_path / "out").glob("*.txt"))
    assert names == sorted(["_x.txt", "a_b.txt", "a_b_2.txt", "_.txt", "A_B_3.txt"])
    assert notes.remarks.total() == 5
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_that_holds_something_is_not_replaced(folder):
    with pytest.raises(FormatError, match="holds something already"):
        FORMATS["brat"].write([{"id": "a", "text": "Ann"}], folder, Notes())
    with pytest.raises(FormatError, match="takes neither --columns nor --split"):
        read(folder, columns={"text": "a"})


def test_a_document_of_brat_has_one_picture(tmp_path):
    for name in ("a.txt", "a.ann", "a.jpg", "a.png"):
        (tmp_path / name).write_text("Ann" if name == "a.txt" else "")
    (post,), _, notes = read(tmp_path, "brat")
    assert post["image"] == tmp_path / "a.jpg"
    assert notes.unused == {"further pictures of the name of a document": 1}
