"""A benchmark runs in a process of its own, and configurations on its line are replaced."""

import pytest
from helpers.benchmarks import benchmark_options

from mmie.experiments.benchmark_process import (
    BenchmarkError,
    config_name,
    replace_config,
    run_in_process,
)

pytestmark = pytest.mark.slow


def test_a_process_returns_its_result_or_fails_by_name(demo_root, tmp_path):
    options = ["--steps=1", "--warmup=1", *benchmark_options("text_only", demo_root, tmp_path)]
    assert run_in_process(options).method == "TextOnly"
    with pytest.raises(
        BenchmarkError, match="the benchmark of demo_text_only failed with status 2"
    ):
        run_in_process([*options, "--data.nothing=1"])


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["--data.seed=1"], "run"),
        (["--config=configs/a.yaml", "--config", "b.yaml"], "a"),
        (["--config", "b.yaml", "--config=a.yaml"], "b"),
        (["--config=runs/x/config.yaml"], "x"),
        (["--config"], "run"),
    ],
)
def test_a_run_is_named_by_its_first_configuration(arguments, name):
    assert config_name(arguments) == name


@pytest.mark.parametrize(
    ("arguments", "replaced"),
    [
        (["--steps=1"], ["--config=new.yaml", "--steps=1"]),
        (["--a", "--config", "b.yaml", "--c"], ["--a", "--config=new.yaml", "--c"]),
        (["--config=b.yaml", "--config=c.yaml"], ["--config=new.yaml", "--config=c.yaml"]),
    ],
)
def test_the_first_configuration_is_replaced(arguments, replaced):
    assert replace_config(arguments, "new.yaml") == replaced
