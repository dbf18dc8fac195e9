"""Precision of sharded fits, and the overlay that names it."""

import pytest
import torch
import yaml
from helpers.command import run
from helpers.methods import build_trainer
from helpers.paths import CONFIGS
from lightning.pytorch.strategies import FSDPStrategy
from torch.distributed.fsdp import ShardingStrategy

from mmie.training.sharding import ShardedPrecision, full_weights
from mmie.types import Entity

FSDP = yaml.safe_load((CONFIGS / "hardware" / "fsdp.yaml").read_text())["trainer"]


@pytest.mark.parametrize(
    ("precision", "kind"), [("bf16-mixed", torch.bfloat16), ("32-true", torch.float32)]
)
def test_inputs_are_not_converted(precision, kind):
    plugin = ShardedPrecision(precision)
    batch = (Entity(0, 1, "PER"), torch.zeros(1, dtype=torch.float64))
    assert plugin.convert_input(batch) is batch
    config = plugin.mixed_precision_config
    assert (config.param_dtype, config.reduce_dtype) == (kind, kind)
    assert not config.cast_forward_inputs
    assert not config.cast_root_forward_inputs


def test_the_strategy_of_the_overlay_is_built_and_takes_the_precision():
    assert FSDP["strategy"]["class_path"].endswith(f".{FSDPStrategy.__name__}")
    (plugin,) = FSDP["plugins"]
    precision = ShardedPrecision(**plugin["init_args"])
    strategy = FSDPStrategy(**FSDP["strategy"]["init_args"], precision_plugin=precision)
    assert strategy.sharding_strategy == ShardingStrategy.SHARD_GRAD_OP
    assert strategy.mixed_precision_config == precision.mixed_precision_config


def test_without_shards_nothing_is_gathered(tmp_path):
    for trainer in (None, build_trainer(tmp_path)):
        with full_weights(trainer):
            pass


@pytest.mark.slow
@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_overlay_reaches_the_trainer(demo_root, tmp_path):
    configs = [f"--config={CONFIGS / name}.yaml" for name in ("demo_text_only", "hardware/fsdp")]
    line = ["fit", *configs, f"--data.corpus.root={demo_root}", f"--run_dir={tmp_path / 'run'}"]
    outcome = run(*line, f"--model.text_encoder={demo_root / 'encoder'}")
    assert outcome.status != 0
    assert "GPU" in outcome.err or "gpu" in outcome.err
