"""What `mmie benchmark` measures adds up."""

import json

import pytest
from helpers.benchmarks import RESULT, benchmark_options
from helpers.command import succeed

from mmie.experiments.benchmark import Benchmark, trainer_settings
from mmie.experiments.stopwatch import PARTS


@pytest.mark.slow
@pytest.mark.parametrize("method", ["text_only", "hvpnet", "imm"])
def test_the_parts_of_a_step_are_complete_and_add_up(demo_root, tmp_path, method):
    options = benchmark_options(method, demo_root, tmp_path)
    output = succeed("benchmark", "--steps=5", "--warmup=2", "--json", *options).out
    result = Benchmark(**json.loads(output.splitlines()[-1]))
    assert (result.name, result.steps) == (f"demo_{method}", 5)
    assert (result.batch_size, result.device) == (4, "cpu")
    assert tuple(result.parts) == PARTS
    assert result.samples_per_second == pytest.approx(4 / result.step_seconds)
    assert result.epoch_seconds == pytest.approx(12 * result.step_seconds)
    assert 1 <= result.tokens_per_real_token < 1.5
    assert all(result.parts[part] > 0 for part in ("text", "head", "backward", "optimiser"))
    assert result.parts["vision"] == 0  # no images, or features from the cache
    assert result.preparation_seconds > 0
    assert result.peak_memory_gib > 0.1
    assert result.gflop == pytest.approx(sum(result.gflop_parts.values()), rel=0.2)
    assert result.gflop_per_second == pytest.approx(result.gflop / result.step_seconds)
    assert 0 < result.gflop_per_second < result.matmul_gflop_per_second
    assert result.gflop_parts["backward"] > result.gflop_parts["text"] > 0
    assert result.gflop_parts["optimiser"] == result.gflop_parts["data"] == 0
    assert not (tmp_path / "run").exists()


def test_without_a_cache_the_backbone_takes_time(demo_root, tmp_path):
    options = benchmark_options("hvpnet", demo_root, tmp_path)[:-1]
    output = succeed(
        "benchmark", "--steps=2", "--warmup=1", "--json", *options, "--feature_store=null"
    ).out
    assert json.loads(output.splitlines()[-1])["parts"]["vision"] > 0


def test_settings_of_the_trainer():
    assert trainer_settings(4, 2) == {"max_steps": 12, "max_epochs": -1, "limit_val_batches": 0}
    for steps, warmup in ((0, 1), (1, 0)):
        with pytest.raises(ValueError, match="expected at least 1"):
            trainer_settings(steps, warmup)


def test_a_benchmark_is_read_back_from_its_line():
    assert Benchmark(**json.loads(RESULT.to_json())) == RESULT
