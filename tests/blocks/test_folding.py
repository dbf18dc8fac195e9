"""Folded copies against the models that they were made of."""

import pytest
import timm
import torch
from torch import nn

from mmie.blocks.folding import fold_batch_norms
from mmie.blocks.vision import VisualBackbone


def randomise(model):
    """Give every batch norm statistics and weights of its own."""
    generator = torch.Generator().manual_seed(1)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            for values in (part.weight.data, part.running_var):
                values.uniform_(0.5, 1.5, generator=generator)
            for values in (part.bias.data, part.running_mean):
                values.normal_(0, 0.1, generator=generator)
    return model.eval()


def norms(model):
    return sum(isinstance(part, nn.BatchNorm2d) for part in model.modules())


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "resnest14d"])
def test_a_folded_copy_gives_the_same_stages(name):
    torch.manual_seed(0)
    model = randomise(timm.create_model(name, num_classes=0)).double()
    pictures = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    before = norms(model)
    folded = fold_batch_norms(model, pictures[:1])
    assert norms(model) == before > norms(folded)
    settings = {"indices": 3, "intermediates_only": True}
    expected = model.forward_intermediates(pictures, **settings)
    for ours, literal in zip(
        folded.forward_intermediates(pictures, **settings), expected, strict=True
    ):
        torch.testing.assert_close(ours, literal, rtol=1e-9, atol=1e-9)


def test_models_without_batch_norms_stay_as_they_are():
    model = timm.create_model("test_vit", num_classes=0).eval()
    assert (
        fold_batch_norms(model, torch.zeros(1, 3, *model.pretrained_cfg["input_size"][1:])) is model
    )


class ReadTwice(nn.Module):
    """Network that reads the output of its convolution before and after the batch norm."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.norm = nn.BatchNorm2d(4)

    def forward(self, pictures):
        maps = self.conv(pictures)
        return self.norm(maps) + maps


def test_a_convolution_with_another_reader_is_not_folded():
    torch.manual_seed(0)
    model = randomise(ReadTwice())
    assert fold_batch_norms(model, torch.randn(1, 3, 8, 8)) is model


def test_a_frozen_backbone_follows_changes_of_its_weights():
    torch.manual_seed(0)
    backbone = VisualBackbone("test_resnet", pretrained=False, image_size=64)
    pixels = torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)
    names = set(backbone.state_dict())
    (before,) = backbone(pixels)
    with torch.no_grad():
        next(backbone.model.parameters()).mul_(2)
    normalised = (pixels - backbone.mean) / backbone.std
    (after,) = backbone(pixels)
    assert not torch.allclose(before, after)
    torch.testing.assert_close(after, backbone.model(normalised), rtol=1e-4, atol=1e-5)
    assert set(backbone.state_dict()) == names
