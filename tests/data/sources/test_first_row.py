"""The first row of a table, which extract and convert read by the same function."""

import io

import pytest
from helpers.formats import read, write_text

from mmie.data.sources import BadPost, SourceError, read_source
from mmie.data.sources.first_row import open_table
from mmie.formats import FormatError


def first_row(tmp_path, text, name="posts.csv", delimiter=None):
    table = open_table(io.StringIO(text, newline="\n"), tmp_path / name, delimiter)
    return table.delimiter, table.columns


def test_the_delimiter_is_that_of_the_column_of_texts(tmp_path):
    assert first_row(tmp_path, "a;b;c;d,text\n") == (",", ["a;b;c;d", "text"])
    assert first_row(tmp_path, "a;b;c,d\n") == (";", ["a", "b", "c,d"])
    assert first_row(tmp_path, "id;text\n", delimiter=",") == (",", ["id;text"])
    assert first_row(tmp_path, "sep=|\nid;b|text\n") == ("|", ["id;b", "text"])
    assert first_row(tmp_path, "id text\n", "posts.tsv") == ("\t", ["id text"])


def test_a_first_row_of_wrong_quotes(tmp_path):
    assert first_row(tmp_path, 'text\t"5\n', "posts.tsv") == ("\t", ["text", '"5'])
    assert first_row(tmp_path, 'text,"5\n') == (",", [])
    assert first_row(tmp_path, "") == (",", [])


TABLES = {
    "a quoted name, a field of several lines with tabs": (
        "posts.tsv",
        'id\t"text"\timage\n1\t"We love\tRome\nand Oslo"\t1.jpg\n2\tb\t2.jpg\n',
        [("1", "We love\tRome\nand Oslo"), ("2", "b")],
    ),
    "no quoted name, lines that are rows": (
        "posts.tsv",
        'id\ttext\timage\n1\t"We love\t1.jpg\n2\tRome"\t2.jpg\n',
        [("1", '"We love'), ("2", 'Rome"')],
    ),
    "a quoted name, lines that could be rows": (
        "posts.csv",
        'id,"text",image\n1,"a,1.jpg\n2,b",2.jpg\n3,c,3.jpg\n',
        [("1", "a,1.jpg\n2,b"), ("3", "c")],
    ),
    "no quoted name, lines that could be rows": (
        "posts.csv",
        'id,text,image\n1,"a,1.jpg\n2,b",2.jpg\n3,c,3.jpg\n',
        [("3", "c")],
    ),
    "quotes as text in a name": (
        "posts.tsv",
        'id\ttext\t"5\n1\t"a\tx\n2\tb"\ty\n',
        [("1", '"a'), ("2", 'b"')],
    ),
    "a delimiter that is named": ("posts.csv", "sep=;\nid;text\n1;a,b\n", [("1", "a,b")]),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("case", TABLES)
def test_extract_and_convert_read_the_same_rows(tmp_path, case):
    name, text, expected = TABLES[case]
    file = write_text(tmp_path / name, text)
    extracted = list(read_source(str(file)))
    converted, bad, _ = read(file, "tables")
    posts = [item for item in extracted if not isinstance(item, BadPost)]
    assert [(post.id, post.text) for post in posts] == expected
    assert [(post["id"], post["text"]) for post in converted] == expected
    named = [item for item in extracted if isinstance(item, BadPost)]
    assert [(f"row {item.place}", item.kind, item.reason) for item in named] == [
        (item.place, item.kind, item.reason) for item in bad
    ]


def test_wrong_quotes_in_names_are_refused_by_both(tmp_path):
    file = write_text(tmp_path / "posts.csv", 'id,"text\n1,a\n')
    with pytest.raises(SourceError, match="expected a column 'text' in the first row"):
        list(read_source(str(file)))
    with pytest.raises(FormatError, match="expected a first row with the names of columns"):
        read(file, "tables")
