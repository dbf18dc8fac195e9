"""The table of options agrees with the parsers."""

import json
import re

import pytest
from helpers.paths import PACKAGE

from mmie.cli.main import COMMANDS
from mmie.cli.option_table import build_table, render_table
from mmie.cli.options import TABLE, all_command_options, has_known_versions


@pytest.fixture(scope="module")
def built():
    return build_table()


def test_the_table_is_that_of_the_parsers(built):
    """Write it again with ``make options`` if this fails."""
    written = json.loads((PACKAGE / "cli" / TABLE).read_text("utf-8"))
    if not has_known_versions():  # the libraries' own options may be others
        assert own_flags(built) == own_flags(written)
        return
    assert without_subclasses(built) == without_subclasses(written)


def without_subclasses(table):
    """Return a table whose help texts list no subclasses, among which those of other tests are."""
    text = json.dumps(table).replace('", "', " ")
    return re.sub(r"known\s+subclasses:[^)]*\)", "", re.sub(r"\s+", " ", text))


def own_flags(table):
    """Return the names of options that are not those of Lightning's trainer, by command."""
    flags = {}
    for name, record in {"run": {"options": table["run"]}, **table["commands"]}.items():
        names = {flag for option in record["options"] for flag in option["flags"]}
        flags[name] = {flag for flag in names if not flag.startswith("--trainer.")}
    return flags


def test_a_rendered_table_is_read_back(built):
    assert json.loads(render_table(built)) == built
    assert max(map(len, render_table(built).splitlines())) < 2000


def test_every_command_has_its_options():
    table = all_command_options()
    assert {name.split()[0] for name in table} == set(COMMANDS)
    for options in table.values():
        assert "--help" in options.by_flag
    assert table["fit"].by_flag["--data.corpus"].classes["MNRE"] == "mmie.data.MNRE"
    assert table["corpus features"].by_flag["--feature_store"].default == "auto"
    assert table["benchmark"].find("--model.text_lr").flags == ("--model",)
    assert table["benchmark"].find("--data.text_lr") is None
