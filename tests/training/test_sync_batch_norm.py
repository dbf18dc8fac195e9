"""Batch norms over several processes, with timm's backbones."""

import copy

import pytest
import timm
import torch
from helpers.command import metrics, succeed, tiny_options
from torch import nn

from mmie.training.sync_batch_norm import SyncBatchNorm


def random_pixels():
    """Draw a batch of pictures."""
    return torch.randn(3, 3, 96, 96, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])
@pytest.mark.parametrize("training", [True, False])
def test_one_process_computes_the_same_as_without(name, training):
    plain = timm.create_model(name, pretrained=False).train(training)
    plugin = SyncBatchNorm()
    converted = plugin.apply(copy.deepcopy(plain))
    kinds = [type(part) for part in converted.modules()]
    assert any(issubclass(kind, nn.SyncBatchNorm) for kind in kinds)
    assert not any(issubclass(kind, nn.BatchNorm2d) for kind in kinds)
    assert torch.equal(converted(random_pixels()), plain(random_pixels()))
    assert plugin.revert(converted) is converted
    state = plain.state_dict()
    for key, value in converted.state_dict().items():
        assert torch.equal(value, state[key])


def test_the_conversion_of_torch_drops_activations():
    # the reason for the plugin: once this fails, the plugin is not needed any more
    plain = timm.create_model("test_efficientnet", pretrained=False).eval()
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(plain))
    assert not torch.allclose(converted(random_pixels()), plain(random_pixels()))


def test_a_fit_of_one_process_accepts_the_option(demo_root, tmp_path):
    """With several processes on a CPU the option is refused: see tests/cli/test_parsing.py."""
    options = tiny_options("dghc", demo_root, tmp_path / "run")
    few_batches = ["--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1"]
    succeed("fit", *options, *few_batches, "--trainer.sync_batchnorm=true")
    assert metrics(tmp_path / "run")["fit"]
