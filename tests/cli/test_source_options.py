"""Options of how a source is read."""

import pytest

from mmie.cli.parsing import OneLineParser, UsageError
from mmie.cli.source_options import add_source_options, source_options
from mmie.data.sources import SourceOptions


def parse(*arguments):
    parser = OneLineParser(prog="mmie x")
    add_source_options(parser)
    return source_options(parser.parse_args(list(arguments)))


def test_options():
    assert parse() == SourceOptions()
    assert parse("--delimiter", "tab").delimiter == "\t"
    assert parse("--delimiter", ";", "--follow_links") == SourceOptions(";", True)


@pytest.mark.parametrize("value", ["", "ab", '"'])
def test_other_delimiters_are_rejected(value):
    with pytest.raises(UsageError, match="expected one character, tab, comma or semicolon"):
        parse("--delimiter", value)
