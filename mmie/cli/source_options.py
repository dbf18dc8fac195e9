"""Options of how a source of posts is read."""

from mmie.cli.parsing import OneLineParser

_NAMES = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";"}


def delimiter(value: str) -> str:
    """Parse the delimiter of a table.

    Raises:
        ValueError: The value is neither a character nor the name of a delimiter.
    """
    character = _NAMES.get(value, value)
    if len(character) != 1 or character in '"\r\n':
        raise ValueError("expected one character, tab, comma or semicolon")
    return character


def add_source_options(parser: OneLineParser) -> None:
    """Add ``--delimiter`` and ``--follow_links``."""
    parser.add_argument(
        "--delimiter",
        type=delimiter,
        default=None,
        help="Delimiter of a table: one character, tab, comma or semicolon; by default that of the "
        "suffix, or the one that gives the first row a column text.",
    )
    parser.add_argument(
        "--follow_links",
        action="store_true",
        help="Follow links to pictures outside the folder, as in the caches of the hub, DVC and "
        "git-annex. Only for posts of one's own: a link can show any file.",
    )
