"""`mmie benchmark`: what it measures adds up, and two configurations run apart."""

import json
from dataclasses import replace

import pytest
from helpers.command import run, succeed, tiny

from mmie.experiments.benchmark import (
    PARTS,
    Benchmark,
    BenchmarkError,
    config_name,
    render_benchmarks,
    replace_config,
    run_apart,
    trainer_settings,
)


def options(method, corpus, folder) -> list[str]:
    """A tiny configuration, without its number of epochs, and with a store of its own."""
    given = [
        option for option in tiny(method, corpus, folder / "run") if "max_epochs" not in option
    ]
    return [*given, f"--feature_store={folder / 'store'}"]


@pytest.mark.parametrize("method", ["text_only", "hvpnet", "imm"])
def test_the_parts_of_a_step_are_all_there_and_add_up(demo_root, tmp_path, method):
    line = succeed(
        "benchmark", "--steps=5", "--warmup=2", "--json", *options(method, demo_root, tmp_path)
    ).out
    found = Benchmark(**json.loads(line.splitlines()[-1]))
    assert (found.name, found.steps, found.batch_size, found.device) == (
        f"demo_{method}",
        5,
        4,
        "cpu",
    )
    assert tuple(found.parts) == PARTS
    assert found.samples_per_second == pytest.approx(4 / found.step_seconds)
    assert found.epoch_seconds == pytest.approx(12 * found.step_seconds)
    assert 1 <= found.tokens_per_real_token < 1.5
    assert all(found.parts[part] > 0 for part in ("text", "head", "backward", "optimiser"))
    assert found.parts["vision"] == 0  # nothing to look at, or kept
    assert found.preparation_seconds > 0
    assert found.peak_memory_gib > 0.1
    assert not (tmp_path / "run").exists()


def test_without_a_store_the_backbone_shows(demo_root, tmp_path):
    given = [*options("hvpnet", demo_root, tmp_path)[:-1], "--feature_store=null"]
    line = succeed("benchmark", "--steps=2", "--warmup=1", "--json", *given).out
    assert json.loads(line.splitlines()[-1])["parts"]["vision"] > 0


def test_two_configurations_run_apart(demo_root, tmp_path, monkeypatch):
    asked = []
    result = Benchmark(
        "a",
        "HVPNet",
        "cpu",
        "32-true",
        1,
        4,
        5,
        0.2,
        20,
        2.4,
        1,
        0.5,
        None,
        1.1,
        dict.fromkeys(PARTS, 1.0),
    )

    def apart(arguments):
        asked.append(arguments)
        return replace(
            result, name=config_name(arguments), epoch_seconds=result.epoch_seconds / len(asked)
        )

    monkeypatch.setattr("mmie.cli.experiments.run_apart", apart)
    table = succeed(
        "benchmark",
        "--config",
        "one.yaml",
        "--config=cpu.yaml",
        "--against=two.yaml",
        "--data.seed=3",
    ).out
    assert asked[0] == [
        "--steps=20",
        "--warmup=3",
        "--config",
        "one.yaml",
        "--config=cpu.yaml",
        "--data.seed=3",
    ]
    assert asked[1] == [
        "--steps=20",
        "--warmup=3",
        "--config=two.yaml",
        "--config=cpu.yaml",
        "--data.seed=3",
    ]
    assert "2.00x" in table
    assert "one" in table
    assert "two" in table


def test_a_process_of_its_own_answers_or_fails_by_name(demo_root, tmp_path):
    given = ["--steps=1", "--warmup=1", *options("text_only", demo_root, tmp_path)]
    assert run_apart(given).method == "TextOnly"
    with pytest.raises(
        BenchmarkError, match="the benchmark of demo_text_only failed with status 2"
    ):
        run_apart([*given, "--data.nothing=1"])


def test_command_lines():
    assert config_name(["--data.seed=1"]) == "run"
    assert config_name(["--config=configs/a.yaml", "--config", "b.yaml"]) == "a"
    assert replace_config(["--steps=1"], "b.yaml") == ["--config=b.yaml", "--steps=1"]
    assert trainer_settings(4, 2) == {"max_steps": 10, "max_epochs": -1, "limit_val_batches": 0}
    assert run("benchmark", "--steps=0", "--config=configs/demo_text_only.yaml").status == 2


def test_one_run_has_no_ratio():
    result = Benchmark(
        "a",
        "X",
        "cpu",
        "32-true",
        1,
        4,
        5,
        0.2,
        20,
        2.4,
        1,
        0.5,
        2.0,
        1.1,
        dict.fromkeys(PARTS, 1.0),
    )
    assert (
        render_benchmarks([result]).row_count == render_benchmarks([result, result]).row_count - 1
    )
