"""Batch norms for several processes: nothing of a backbone is lost on the way."""

import copy

import pytest
import timm
import torch
from helpers.command import metrics, succeed, tiny_options
from torch import nn

from mmie.training.sync_batch_norm import SyncBatchNorm


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])
@pytest.mark.parametrize("training", [True, False])
def test_one_process_computes_what_it_did(name, training):
    plain = timm.create_model(name, pretrained=False).train(training)
    plugin = SyncBatchNorm()
    converted = plugin.apply(copy.deepcopy(plain))
    kinds = [type(part) for part in converted.modules()]
    assert any(issubclass(kind, nn.SyncBatchNorm) for kind in kinds)
    assert not any(issubclass(kind, nn.BatchNorm2d) for kind in kinds)
    pictures = torch.randn(3, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    assert torch.equal(converted(pictures), plain(pictures))
    assert plugin.revert(converted) is converted
    assert all(
        torch.equal(mine, plain.state_dict()[key]) for key, mine in converted.state_dict().items()
    )


def test_torchs_own_conversion_drops_activations():
    """Why there is a plugin: should this fail one day, it is no longer needed."""
    plain = timm.create_model("test_efficientnet", pretrained=False).eval()
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(plain))
    pictures = torch.randn(3, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    assert not torch.allclose(converted(pictures), plain(pictures))


def test_a_fit_of_one_process_takes_the_switch(demo_root, tmp_path):
    """Where there are others, a CPU refuses it: see the wrong lines in test_cli."""
    options = ["--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1"]
    succeed(
        "fit",
        *tiny_options("dghc", demo_root, tmp_path / "run"),
        *options,
        "--trainer.sync_batchnorm=true",
    )
    assert metrics(tmp_path / "run")["fit"]
