"""Rows of delimited text."""

import pytest

from mmie.data.sources.delimited import DelimitedText, split_returns


def rows_of(text, delimiter="\t", columns=3):
    lines = split_returns(text.splitlines(keepends=True))
    return list(DelimitedText(lines, delimiter, 2, columns))


def test_quotes_of_tools_that_do_not_quote():
    text = '1\t"We love\ta.jpg\n2\tAnn\tb.jpg\n3\tsay "Paris"\tc.jpg\n4\tBob "no"\n5\tend"\te.jpg\n'
    rows = rows_of(text)
    assert [row.fields[0] for row in rows] == ["1", "2", "3", "4", "5"]
    assert rows[0].fields == ["1", '"We love', "a.jpg"]
    rows = rows_of('1\t"We love\n2\tAnn\n3\tand Bob"\n4\tlast\n', columns=2)
    assert [row.fields for row in rows][0::3] == [["1", '"We love'], ["4", "last"]]


def test_quotes_of_tools_that_quote():
    rows = rows_of('1\t"a\nb ""c"""\ta.jpg\n2\t"x"\tb.jpg\n')
    assert [row.fields for row in rows] == [["1", 'a\nb "c"', "a.jpg"], ["2", "x", "b.jpg"]]
    assert [row.number for row in rows] == [2, 4]
    rows = rows_of('"1"\t"a ""b""\n\tc"\t""\n2\t"We\tb.jpg\n')
    assert [row.fields[0:2] for row in rows] == [["1", 'a "b"\n\tc'], ["2", '"We']]
    rows = rows_of('p,"a, b\n\nc",a.jpg\n', ",")
    assert [row.fields for row in rows] == [["p", "a, b\n\nc", "a.jpg"]]


@pytest.mark.parametrize(
    ("text", "delimiter"),
    [('1\t"a\tb\nc"\td.jpg\n', "\t"), ('1,"We love,a.jpg\n2,Ann",b.jpg\n', ",")],
)
def test_ambiguous_rows_are_named_each(text, delimiter):
    rows = rows_of(text, delimiter)
    assert [row.number for row in rows] == [2, 3]
    assert all("opens in line 2 and may close in line 3" in row.expected for row in rows)


def test_an_open_quote_of_csv_costs_no_other_row():
    rows = rows_of('1,"a,b.jpg\n2,c "d",e.jpg\n3,f\n4,"g"h,i.jpg\n5,j,k.jpg,l\n6,m,n.jpg\n', ",")
    assert [bool(row.expected) for row in rows] == [True, False, False, True, True, False]
    assert rows[-1].fields == ["6", "m", "n.jpg"]


def test_a_tool_that_quotes_the_columns_quotes_all():
    rows = list(DelimitedText(['"a\n', 'b"\n', '"c\td\n', '1"\n'], "\t", 2, 1, is_quoted=True))
    assert [row.fields for row in rows] == [["a\nb"], ["c\td\n1"]]


def test_blank_lines_are_kept_on_request():
    rows = list(DelimitedText(["a,b\n", "\r\n", "\n", "c,d"], ",", 2, 2, keep_blank=True))
    assert [(row.number, row.fields) for row in rows] == [
        (2, ["a", "b"]),
        (3, []),
        (4, []),
        (5, ["c", "d"]),
    ]


def test_carriage_returns_end_lines():
    assert [row.fields[0] for row in rows_of("1\ta\tb\r2\ta\tb\r\n\r\n3\ta\tb")] == ["1", "2", "3"]
