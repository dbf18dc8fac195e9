"""Tables: layouts, delimiters, what Excel writes, and rows that are wrong."""

import pytest
from helpers.formats import EXPECTED, LAYOUTS, read, table, tagged, write_text

from mmie.formats import FORMATS, FormatError, Notes


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(tmp_path, layout):
    (post,), bad, notes = read(write_text(tmp_path / "posts.csv", LAYOUTS[layout]))
    assert (tagged(post), bad) == (EXPECTED, [])
    words = post["words"] if "words" in post else post["text"].split()
    assert words == ["Ann", "in", "Rome"]
    assert notes.found[0].startswith("a row per ")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_what_excel_writes(tmp_path, delimiter, encoding):
    rows = [["id", "text", "label"], ["7", 'Änn; "x", \ny|\tz', '[[0, 3, "PER"]]']]
    text = table(*rows, delimiter=delimiter).replace("\n", "\r\n")
    file = tmp_path / "posts.csv"
    file.write_bytes(text.encode(encoding))
    (post,), _, _ = read(file)
    assert tagged(post) == [("Änn", "PER")]
    assert post["id"] == "7"


def test_a_line_that_names_the_delimiter_is_skipped(tmp_path):
    file = write_text(tmp_path / "posts.csv", "sep=;\nid;text\n7;Ann\n")
    assert read(file)[0] == [{"id": "7", "text": "Ann"}]


@pytest.mark.parametrize("layout", ["json", "spans", "words"])
def test_several_pictures_of_a_row(tmp_path, layout):
    file = write_text(tmp_path / "7.jpg", "")
    header, first, *others = LAYOUTS[layout].splitlines()
    rows = [f"{header},images", f'{first},"[""7"", ""8.png""]"', *(f"{row}," for row in others)]
    (post,), bad, notes = read(write_text(tmp_path / "posts.csv", "\n".join(rows)))
    assert (post["images"], bad) == ([file, "8.png"], [])
    assert "column 'images'" not in notes.unused
    rows[1] = f"{first},7.jpg"
    (_, bad, _) = read(write_text(tmp_path / "posts.csv", "\n".join(rows)))
    assert bad[0].reason.startswith("expected 'images' to be a list in JSON")


def test_no_row_is_lost_in_a_quote_that_another_opens(tmp_path):
    lines = ['1\t"We left\t1.jpg', '2\tsay "Rome"\t2.jpg', '3\tand "Oslo"\t3.jpg', '4\t6"\t4.jpg']
    posts, bad, _ = read(write_text(tmp_path / "a.tsv", "\n".join(["id\ttext\timage", *lines])))
    assert [[post["id"], post["text"], post["image"]] for post in posts] == [
        line.split("\t") for line in lines
    ]
    assert bad == []
    lines = ['1,"row 1,1.jpg', "2,row 2,2.jpg", '3,row 3",3.jpg', "4,row 4,4.jpg"]
    (post,), bad, _ = read(write_text(tmp_path / "a.csv", "\n".join(["id,text,image", *lines])))
    assert (post["text"], post["image"]) == ("row 4", "4.jpg")
    assert [item.place for item in bad] == ["row 2", "row 3", "row 4"]
    assert all("double the quotes" in item.reason for item in bad)


def test_an_excel_file(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (["id", "text", "start", "end", "label"], [7, "Ann in Rome", 0, 3, "PER"]):
        book.active.append(row)
    book.save(tmp_path / "posts.xlsx")
    (post,), _, _ = read(tmp_path / "posts.xlsx")
    assert (post["id"], tagged(post)) == ("7", [("Ann", "PER")])
    write_text(tmp_path / "posts.xlsx", "PK no zip")
    with pytest.raises(FormatError, match="expected an Excel file"):
        read(tmp_path / "posts.xlsx")
    with pytest.raises(FormatError, match="only read"):
        FORMATS["tables"].write([], tmp_path / "posts.xlsx", Notes())


@pytest.mark.parametrize(
    ("rows", "place", "reason"),
    [
        (["id,text,entities", '1,Ann,"[[0, 9, ""PER""]]"'], "post 1", "an entity with 0 <= start"),
        (["id,text,entities", "1,Ann,{"], "row 2", "expected 'entities' to be a list in JSON"),
        (["id,text,entities", '1,Ann,"[{""start"": 0}]"'], "row 2", "an entity with start and end"),
        (["id,text", "1,Ann,Lee"], "row 2", "expected 2 fields, found more: quote"),
        (["id,text", '1,"Ann'], "row 2", "expected a quote that closes the field"),
        (["id,text", "1,"], "post 1", "expected a list of at least one word"),
        (["id,text,start,end,label", "1,Ann,x,3,PER"], "row 2", "expected a number in 'start'"),
        (
            ["id,text,start,end,label", "1,Ann,0,3,PER", "1,Bob,0,3,PER"],
            "row 3",
            "expected the same text",
        ),
        (["id,text,start,end,label,mention", "1,Ann,0,2,PER,Ann"], "row 2", "the text 'Ann'"),
        (["word,tag", "Ann,B-PER", ",O"], "row 3", "expected a word, found an empty cell"),
        (["text,x", "<PER>Ann</LOC> <A>b</A>,1"], "row 2", "that are closed"),
    ],
)
def test_a_wrong_row_is_named(tmp_path, rows, place, reason):
    posts, (bad,), _ = read(write_text(tmp_path / "posts.csv", "\n".join(rows)), "tables")
    assert posts == []
    assert bad.place == place
    assert reason in bad.reason


def test_splits_and_columns(tmp_path):
    rows = ["nr,message,split,extra", "1,Ann,train,x", "2,Bob,dev,"]
    file = write_text(tmp_path / "posts.csv", "\n".join(rows))
    columns = {"id": "nr", "text": "message"}
    posts, _, notes = read(file, "tables", columns=columns, split="dev")
    assert posts == [{"id": "2", "text": "Bob"}]
    assert notes.unused == {"column 'extra'": 1}
    with pytest.raises(FormatError, match="expected a column with a text or words"):
        read(file, "tables")
    with pytest.raises(FormatError, match="--columns text=no: expected one of 'nr', 'message'"):
        read(file, "tables", columns={"text": "no"})
    with pytest.raises(FormatError, match="--columns names picture: expected parts of a post"):
        read(file, "tables", columns={"picture": "nr"})


def test_cells_that_a_spreadsheet_evaluates_are_counted(tmp_path):
    notes = Notes()
    records = [{"id": "1", "text": "=1+1"}, {"id": "2", "words": ["=1"], "extra": 1}]
    FORMATS["tables"].write(records, tmp_path / "posts.csv", notes)
    assert notes.remarks == {"cells that a spreadsheet evaluates: import them as text": 1}
    assert notes.unused == {"key 'extra', for which tables have no column": 1}
    posts, _, _ = read(tmp_path / "posts.csv")
    assert posts == [{"id": "1", "text": "=1+1"}, {"id": "2", "words": ["=1"]}]
