"""Checkpoints that find something, without having learnt anything."""

from pathlib import Path

import pytest
import torch
from tools import build_module, stir

from mmie.methods import HVPNet


def make_talkative(last):
    """Let a head's linear map say O or None less often, and the rest by what is seen."""
    with torch.no_grad():
        last.weight.mul_(8)
        last.bias[0] -= 3


@pytest.fixture(scope="session")
def save_checkpoint(demo_data, tiny_bert, tmp_path_factory):
    """Writes the checkpoint of a method with random weights, as far as the package reads it."""

    def save(method, task, **arguments) -> Path:
        data = demo_data(task, tiny_bert)
        module = stir(build_module(method, data.schema, tiny_bert, **arguments))
        if hasattr(module, "head"):
            make_talkative(module.head.emission if task == "ner" else module.head.classifier)
        checkpoint = {"state_dict": module.state_dict(), "MultimodalDataModule": data.state_dict()}
        module.on_save_checkpoint(checkpoint)
        path = tmp_path_factory.mktemp("checkpoints") / f"{method.__name__}_{task}.ckpt"
        torch.save(checkpoint, path)
        return path

    return save


@pytest.fixture(scope="session")
def random_pair(save_checkpoint) -> dict[str, Path]:
    """Checkpoints of HVPNet for both tasks."""
    return {task: save_checkpoint(HVPNet, task, vision_backbone="test_resnet") for task in ("ner", "re")}
