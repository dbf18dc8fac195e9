"""The patch embedding against its equation, and weights taken from a ViT."""

import huggingface_hub.constants
import pytest
import timm
import torch
from helpers.backbones import save_timm_folder
from torch import nn

from mmie.blocks.errors import WeightsUnavailable
from mmie.blocks.patch_embedding import PatchEmbedding
from mmie.blocks.text_encoder import TextEncoder

SETTINGS = {
    "model_type": "bert",
    "hidden_size": 64,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 30,
}


def build_text(hidden_size=64, frozen=False):
    settings = {**SETTINGS, "hidden_size": hidden_size}
    return TextEncoder(settings, pretrained=False, frozen=frozen)


def build(source=None, patch_size=16, text=None):
    torch.manual_seed(0)
    return PatchEmbedding(text or build_text(), 64, patch_size, source).eval()


def random_pictures(count=2):
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 3, 64, 64), dtype=torch.uint8, generator=generator)


def test_embedding_equals_loops_over_patches():
    patches, pictures = build(patch_size=32), random_pictures()
    patches.mean.copy_(torch.tensor([10.0, 20.0, 30.0]).view(3, 1, 1))
    patches.std.copy_(torch.tensor([40.0, 50.0, 60.0]).view(3, 1, 1))
    for parameter in patches.parameters():
        nn.init.normal_(parameter, std=0.1)
    embedded = patches(pictures)
    assert embedded.shape == (2, 5, 64)
    weight, bias = patches.projection.weight, patches.projection.bias
    for row, picture in enumerate((pictures - patches.mean) / patches.std):
        tokens = [patches.start.weight[0]]
        for top in (0, 32):
            for left in (0, 32):
                patch = picture[:, top : top + 32, left : left + 32]
                tokens.append((weight * patch).sum((1, 2, 3)) + bias)
        for index, token in enumerate(tokens):
            token = token + patches.positions.weight[index] + patches.kind.weight[0]
            expected = patches.norm(token)
            torch.testing.assert_close(embedded[row, index], expected, rtol=1e-4, atol=1e-5)


def test_norm_is_a_trained_copy_of_that_of_a_frozen_encoder():
    text = build_text(frozen=True)
    patches = build(text=text)
    theirs = text.model.embeddings.LayerNorm.weight
    assert torch.equal(patches.norm.weight, theirs)
    assert patches.norm.weight is not theirs
    assert all(parameter.requires_grad for parameter in patches.parameters())
    assert patches.train().dropout.training


def test_weights_and_statistics_of_a_vit_are_copied(tmp_path):
    save_timm_folder(tmp_path, "test_vit")
    vit = timm.create_model(f"local-dir:{tmp_path}", pretrained=True, img_size=64)
    patches = build(str(tmp_path))
    assert torch.equal(patches.projection.weight, vit.patch_embed.proj.weight)
    assert torch.equal(patches.projection.bias, vit.patch_embed.proj.bias)
    assert torch.equal(patches.start.weight, vit.cls_token[0])
    torch.testing.assert_close(patches.positions.weight, vit.pos_embed[0])
    torch.testing.assert_close(patches.mean.flatten(), 255 * torch.tensor([0.1, 0.2, 0.3]))
    torch.testing.assert_close(patches.std.flatten(), 255 * torch.tensor([0.4, 0.5, 0.6]))
    assert all(parameter.requires_grad for parameter in patches.parameters())


def test_patches_of_another_size_are_resampled(tmp_path):
    save_timm_folder(tmp_path, "test_vit")
    patches = build(str(tmp_path), patch_size=8)
    assert patches.projection.weight.shape == (64, 3, 8, 8)
    assert patches(random_pictures()).shape == (2, 65, 64)


def test_vit_of_another_width_leaves_the_weights_random_and_warns(tmp_path):
    save_timm_folder(tmp_path, "test_vit")
    text = build_text(hidden_size=32)
    with pytest.warns(UserWarning, match="is 64 wide, the text encoder 32: it starts random"):
        patches = build(str(tmp_path), text=text)
    assert torch.equal(patches.projection.weight, build(text=text).projection.weight)


def test_source_that_is_no_vit_raises(tmp_path):
    save_timm_folder(tmp_path, "test_resnet")
    with pytest.raises(ValueError, match="has no patches, start token and positions: name a ViT"):
        build(str(tmp_path))


@pytest.mark.parametrize("patch_size", [0, 24])
def test_patch_size_that_does_not_divide_the_picture_raises(patch_size):
    message = f"pictures are 64 pixels wide, patch_size is {patch_size}: it must divide them"
    with pytest.raises(ValueError, match=message):
        build(patch_size=patch_size)


@pytest.mark.slow
def test_unreachable_hub_gives_an_error_of_one_line(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsUnavailable, match="set patch_embedding: null") as error:
        build("vit_base_patch32_clip_224.openai", 32)
    assert "\n" not in str(error.value)
