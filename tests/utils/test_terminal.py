"""Foreign texts on a terminal: printed as they are, control characters spelled out."""

import io

from helpers.paths import PACKAGE
from rich.console import Group
from rich.table import Table
from rich.text import Text

from mmie.utils.terminal import PlainConsole, print_lines, printable

HOSTILE = "[/x]a [red]b :smile: \x1b]0;title\x07 \u202e \x9b2J \ud83d\r"
SPELLED = "[/x]a [red]b :smile: \\x1b]0;title\\x07 \\u202e \\x9b2J \\ud83d\\r"


def render(renderable, **settings):
    """Return what a console prints."""
    stream = io.StringIO()
    PlainConsole(file=stream, width=200, **settings).print(renderable)
    return stream.getvalue()


def test_every_control_character_is_spelled_out():
    assert printable(HOSTILE) == SPELLED
    for code in (*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029, 0x2066, 0xD800):
        assert printable(chr(code)).isprintable()
        assert printable(chr(code)) != chr(code)
    assert printable("a\nb", multiline=True) == "a\nb"
    assert printable("naïve 👩\u200d🔬 东京") == "naïve 👩\u200d🔬 东京"


def test_tables_and_texts_are_printed_as_they_are():
    table = Table(HOSTILE, title=HOSTILE, caption=HOSTILE)
    table.add_row(HOSTILE)
    for renderable in (HOSTILE, Group(HOSTILE, Text(HOSTILE)), table):
        output = render(renderable)
        assert SPELLED in output
        assert all(line.isprintable() for line in output.splitlines())
    assert "\\x1b]0;title" in render(Text(HOSTILE))  # rich itself drops a bell


def test_columns_are_as_wide_as_what_is_printed():
    table = Table(show_header=False)
    table.add_row(HOSTILE, "x")
    table.add_row("a", "x")
    lines = render(table).splitlines()
    assert len(set(map(len, lines))) == 1


def test_colours_of_the_package_still_work():
    output = render(Text("ok", "green"), force_terminal=True, color_system="standard")
    assert output == "\x1b[32mok\x1b[0m\n"


def test_lines_are_printed_as_lines():
    stream = io.StringIO()
    print_lines("a\nb", HOSTILE, file=stream)
    assert stream.getvalue() == f"a\\nb\n{SPELLED}\n"


def test_no_other_console_prints():
    for file in PACKAGE.rglob("*.py"):
        if file.name != "terminal.py":
            text = file.read_text(encoding="utf-8")
            assert "import Console" not in text, file
            assert "rich.print" not in text, file
