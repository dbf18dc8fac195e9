"""`mmie config`."""

import yaml
from helpers.command import check_refused, run, succeed
from helpers.paths import CONFIGS

from mmie.cli.configuration import describe_configuration
from mmie.utils.configurations import configuration_names


def test_all_configurations_are_listed():
    lines = succeed("config", "list").out.splitlines()
    names = [line.split()[0] for line in lines if line.startswith(" ") and line[1] != " "]
    assert [name for name in names if name != "name"] == list(configuration_names())
    assert any("RAP on MNRE (re)" in line for line in lines)


def test_a_configuration_is_shown_as_it_is_written():
    outcome = succeed("config", "show", "hardware/gpu")
    assert outcome.out == (CONFIGS / "hardware" / "gpu.yaml").read_text()
    check_refused(run("config", "show", "rap_mnr"), "rap_mnr", "did you mean 'rap_mnre'?")


def test_an_overlay_is_described_by_its_settings():
    text = "model: {init_args: {a: 1, b: {c: x}}}\ndata: {d: null, e: 2, f: 3}"
    expected = "model.a=1, model.b.c=x, data.d=None, data.e=2 and 1 more"
    assert describe_configuration(yaml.safe_load(text)) == expected
