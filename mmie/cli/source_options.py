"""Options of how a source of posts is read."""

from jsonargparse import Namespace

from mmie.cli.parsing import OneLineParser, UsageError
from mmie.data.sources import SourceOptions

_NAMES = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";"}


def add_source_options(parser: OneLineParser) -> None:
    """Add ``--delimiter`` and ``--follow_links``."""
    parser.add_argument(
        "--delimiter",
        type=str | None,
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


def source_options(settings: Namespace) -> SourceOptions:
    """Return the parsed options.

    Raises:
        UsageError: The delimiter is neither a character nor the name of one.
    """
    delimiter = _NAMES.get(settings.delimiter, settings.delimiter)
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
        raise UsageError(
            f"delimiter is {delimiter!r}: expected one character, tab, comma or semicolon"
        )
    return SourceOptions(delimiter, settings.follow_links)
