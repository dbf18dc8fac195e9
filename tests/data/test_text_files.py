"""Text files in Unicode."""

import io

import pytest

from mmie.data.text_files import (
    decode_text,
    find_encoding,
    is_blank,
    read_text_lines,
    undecodable,
)


def lines_of(content):
    return list(read_text_lines(io.BytesIO(content)))


@pytest.mark.parametrize(
    "encoding",
    [
        "utf-8",
        "utf-8-sig",
        "utf-16",
        "utf-16-le",
        "utf-16-be",
        "utf-32",
        "utf-32-le",
        "utf-32-be",
    ],
)
def test_lines(encoding):
    text = "id\tZoë\r\n1\u2028\x0c\r2\n\nlast"
    assert lines_of(text.encode(encoding)) == ["id\tZoë\r\n", "1\u2028\x0c\r2\n", "\n", "last"]


def test_an_empty_file_has_one_empty_line():
    assert lines_of(b"") == [""]
    assert find_encoding(b"") == "utf-8"


def test_bytes_that_are_no_text_are_placed():
    _, bad = lines_of("é\n".encode() + "äé".encode() + b"\xe9!")
    assert undecodable(bad) == "the byte 0xe9 at byte 5: save the file as UTF-8"
    (bad,) = lines_of("ab".encode("utf-16") + b"\x00\xd8")
    assert undecodable(bad).startswith("bytes that are no character at character 3")
    assert undecodable("\ud83d is a surrogate, but no byte") is None


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_whole_texts_are_decoded_as_lines_are(encoding):
    assert decode_text("Zoë\nleft".encode(encoding)) == "Zoë\nleft"


def test_bytes_that_are_no_text_stay_visible():
    assert undecodable(decode_text(b"Zo\xeb")) is not None
    assert undecodable(decode_text("Ann".encode("utf-16") + b"x")) is not None


def test_other_lone_surrogates_before_a_byte_count_as_three_bytes():
    assert undecodable("\ud800 \udcff") == "the byte 0xff at byte 5: save the file as UTF-8"


@pytest.mark.parametrize(
    ("line", "blank"), [("", True), (" \t\r\n\v\f", True), ("\x1c", False), ("\xa0\n", False)]
)
def test_blank_lines_hold_only_ascii_blanks(line, blank):
    assert is_blank(line) == blank
