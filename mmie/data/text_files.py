"""Text files in Unicode: byte-order marks, lines, and the place of bytes that are no text."""

import codecs
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import BinaryIO

_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins with the mark of UTF-16, so it comes first
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BLOCK = 2**20
"""Bytes of a file that is not UTF-8 which are decoded at a time."""
_ESCAPE = "mmie-escape"
_ESCAPES = re.compile("[\udc80-\udcff]")
"""Lone surrogates in place of bytes that cannot be decoded."""
_UNKNOWN_BYTES = "\udc80"


def read_text_lines(stream: BinaryIO) -> Iterator[str]:
    r"""Yield the lines of a text file with their ends, without the byte-order mark.

    UTF-8, UTF-16 and UTF-32 are told apart by their marks. Without one the text is UTF-16 or UTF-32
    if its first bytes are those of ASCII characters in it, and else UTF-8. Only ``\n`` ends a line.
    Bytes that cannot be decoded become lone surrogates, which `undecodable` finds.

    Args:
        stream: The open file.
    """
    first = stream.readline()
    encoding = find_encoding(first)
    if encoding.startswith("utf-8"):
        yield first.removeprefix(codecs.BOM_UTF8).decode(errors="surrogateescape")
        for line in stream:
            yield line.decode(errors="surrogateescape")
        return
    blocks = iter(lambda: stream.read(_BLOCK), b"")
    yield from _split_lines(chain([first], blocks), encoding)


def decode_text(content: bytes) -> str:
    r"""Decode the content of a text file, as `read_text_lines` does.

    >>> decode_text(b"\xff\xfeZ\x00o\x00\xeb\x00"), decode_text(b"\xef\xbb\xbfZo\xeb")
    ('Zoë', 'Zo\udceb')
    """
    encoding = find_encoding(content)
    is_utf8 = encoding.startswith("utf-8")
    return content.decode(encoding, errors="surrogateescape" if is_utf8 else _ESCAPE)


def find_encoding(head: bytes) -> str:
    r"""Return the encoding of a text, given its first bytes.

    >>> find_encoding(b"\xff\xfei\x00"), find_encoding(b"id"), find_encoding(b"i\x00d\x00")
    ('utf-16', 'utf-8', 'utf-16-le')
    """
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    zeros = [byte == 0 for byte in head[:4]]
    if zeros == [False, True, False, True]:
        return "utf-16-le"
    if zeros == [True, False, True, False]:
        return "utf-16-be"
    if zeros == [False, True, True, True]:
        return "utf-32-le"
    if zeros == [True, True, True, False]:
        return "utf-32-be"
    return "utf-8"


def undecodable(text: str) -> str | None:
    r"""Describe the first bytes of a text that could not be decoded, or return None.

    >>> undecodable("Zo\udceb") , undecodable("Zoë")
    ('the byte 0xeb at byte 3: save the file as UTF-8', None)
    """
    match = _ESCAPES.search(text)
    if match is None:
        return None
    index, character = match.start(), match[0]
    if character == _UNKNOWN_BYTES:
        return f"bytes that are no character at character {index + 1}: save the file as UTF-8"
    position = len(text[:index].encode(errors="surrogatepass")) + 1
    return f"the byte 0x{ord(character) - 0xDC00:02x} at byte {position}: save the file as UTF-8"


def _split_lines(blocks: Iterable[bytes], encoding: str) -> Iterator[str]:
    """Decode blocks of bytes, and yield the lines of their text with their ends."""
    decoder = codecs.getincrementaldecoder(encoding)(_ESCAPE)
    pending = ""
    for block in blocks:
        *lines, pending = (pending + decoder.decode(block)).split("\n")
        for line in lines:
            yield f"{line}\n"
    pending += decoder.decode(b"", final=True)
    if pending:
        yield pending


def _escape(error: UnicodeError) -> tuple[str, int]:
    """Put a lone surrogate in place of bytes that cannot be decoded.

    Raises:
        UnicodeError: A text is being encoded.
    """
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return _UNKNOWN_BYTES, error.end


codecs.register_error(_ESCAPE, _escape)


def is_blank(line: str) -> bool:
    """Tell whether a line holds only ASCII blanks.

    Other characters that `str.strip` removes, such as a lone separator or a no-break space, are a
    line that is named if it cannot be read.
    """
    return not line.strip(" \t\r\n\v\f")
