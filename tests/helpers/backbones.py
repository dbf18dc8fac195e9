"""Folders with the weights of tiny timm models."""

import json
from pathlib import Path

import timm
import torch
from torch import nn


def save_timm_folder(folder: Path, name: str = "test_resnet") -> nn.Module:
    """Save a random model in a folder as timm does, with statistics of its own.

    Returns:
        The model in eval mode.
    """
    torch.manual_seed(3)
    model = timm.create_model(name, pretrained=False)
    settings = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "num_classes": 1000}
    config = {
        "architecture": name,
        "num_classes": 1000,
        "pretrained_cfg": {**model.pretrained_cfg, **settings},
    }
    (folder / "config.json").write_text(json.dumps(config))
    torch.save(model.state_dict(), folder / "pytorch_model.bin")
    return model.eval()
