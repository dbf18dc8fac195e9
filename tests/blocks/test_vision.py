"""Visual backbones against timm and literal versions."""

import huggingface_hub.constants
import pytest
import timm
import torch
from helpers.backbones import save_timm_folder
from torch.nn import functional

from mmie.blocks.errors import WeightsUnavailable
from mmie.blocks.vision import VisualBackbone


def build(name="test_resnet", output="pooled", image_size=64, **settings):
    torch.manual_seed(0)
    return VisualBackbone(name, pretrained=False, output=output, image_size=image_size, **settings)


def pictures(*shape, seed=0):
    return torch.randint(
        0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )


@pytest.mark.parametrize(
    ("name", "output", "shapes"),
    [
        ("resnet18", "stages", [(64, 16, 16), (128, 8, 8), (256, 4, 4), (512, 2, 2)]),
        ("resnet18", "grid", [(512, 2, 2)]),
        ("resnet18", "pooled", [(512,)]),
        ("test_resnet", "stages", [(32, 16, 16), (48, 8, 8), (192, 4, 4), (96, 2, 2)]),
        ("test_convnext", "stages", [(24, 16, 16), (32, 8, 8), (48, 4, 4), (64, 2, 2)]),
        ("test_vit", "grid", [(64, 4, 4)]),
        ("test_vit", "pooled", [(64,)]),
        ("test_vit", "logits", [(1000,)]),
        ("resnet18", "logits", [(1000,)]),
    ],
)
def test_shapes(name, output, shapes):
    backbone = build(name, output)
    assert backbone.shapes == tuple(shapes)
    assert backbone.channels == tuple(shape[0] for shape in shapes)
    assert [tuple(out.shape) for out in backbone(pictures(3, 3, 64, 64))] == [
        (3, *shape) for shape in shapes
    ]


def test_normalisation_and_stages_equal_literal_ones():
    backbone = build("resnet18", "stages")
    pixels = pictures(2, 3, 64, 64)
    images = torch.empty(2, 3, 64, 64)
    for channel, (mean, std) in enumerate([(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)]):
        images[:, channel] = (pixels[:, channel].float() / 255 - mean) / std
    model, literal = backbone.model, []
    state = model.maxpool(model.act1(model.bn1(model.conv1(images))))
    for layer in (model.layer1, model.layer2, model.layer3, model.layer4):
        state = layer(state)
        literal.append(state)
    for ours, expected in zip(backbone(pixels), literal, strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)
    backbone.output = "pooled"
    torch.testing.assert_close(
        backbone(pixels)[0], literal[-1].mean(dim=(2, 3)), rtol=1e-4, atol=1e-5
    )


def test_grid_of_a_vit_holds_its_normed_patch_tokens_in_rows():
    backbone, pixels = build("test_vit", "grid"), pictures(2, 3, 64, 64)
    grid = backbone(pixels)[0]
    tokens = backbone.model.forward_features((pixels / 255 - 0.5) / 0.5)[:, 1:]
    torch.testing.assert_close(grid[:, :, 1, 2], tokens[:, 1 * 4 + 2], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_frozen_backbone_does_not_change_in_training_mode(name):
    backbone = build(name, "grid")
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    backbone.train()
    for seed in range(3):
        assert not any(out.requires_grad for out in backbone(pictures(4, 3, 64, 64, seed=seed)))
    assert not any(module.training for module in backbone.modules())
    assert not any(parameter.requires_grad for parameter in backbone.parameters())
    assert all(value.equal(before[key]) for key, value in backbone.state_dict().items())


def test_unfrozen_backbone_gets_gradient_and_new_statistics():
    backbone = build(frozen=False)
    before = {key: value.clone() for key, value in backbone.named_buffers()}
    assert backbone.training
    mask = torch.tensor([[True, False], [True, True]])
    backbone.encode_views(pictures(2, 2, 3, 64, 64), mask)[0].square().sum().backward()
    assert all(parameter.grad is not None for parameter in backbone.parameters())
    assert backbone.model.conv1[0].weight.grad.any()
    assert not all(value.equal(before[key]) for key, value in backbone.named_buffers())
    assert not any(module.training for module in backbone.eval().modules())


def test_views_are_encoded_one_by_one_and_masked_ones_are_zero():
    backbone = build("test_resnet", "stages", pool_to=2)
    pixels = pictures(2, 3, 3, 64, 64)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    outputs = backbone.encode_views(pixels, mask)
    assert [tuple(out.shape) for out in outputs] == [
        (2, 3, channels, 2, 2) for channels in (32, 48, 192, 96)
    ]
    for scale, out in enumerate(outputs):
        assert not out[~mask].any()
        for row, view in mask.nonzero().tolist():
            alone = backbone(pixels[row, view : view + 1])[scale][0]
            torch.testing.assert_close(out[row, view], alone, rtol=1e-4, atol=1e-5)


def test_only_readable_views_are_computed_and_used():
    backbone = build(frozen=False).eval()
    rows = []
    backbone.model.register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    mask = torch.tensor(
        [[True, False, True, False], [False, False, False, False], [True, True, False, False]]
    )
    first, second = pictures(3, 4, 3, 64, 64), pictures(3, 4, 3, 64, 64, seed=1)
    second[mask] = first[mask]
    assert backbone.encode_views(first, mask)[0].equal(backbone.encode_views(second, mask)[0])
    assert rows == [4, 4]


@pytest.mark.parametrize("pixels", [None, pictures(2, 3, 3, 64, 64)])
def test_no_readable_view_gives_zeros_without_computing(pixels):
    backbone = build("test_resnet", "stages")
    backbone.model.forward_intermediates = None
    outputs = backbone.encode_views(pixels, torch.zeros(2, 3, dtype=torch.bool))
    assert [tuple(out.shape) for out in outputs] == [(2, 3, *shape) for shape in backbone.shapes]
    assert not any(out.any() for out in outputs)


@pytest.mark.parametrize("image_size", [64, 224])
def test_pooling_kernel_is_half_the_size(image_size):
    pooled, plain = (build("test_resnet", "stages", image_size, pool_to=size) for size in (2, None))
    pixels = pictures(1, 3, image_size, image_size)
    assert all(shape[1:] == (2, 2) for shape in pooled.shapes)
    for ours, features in zip(pooled(pixels), plain(pixels), strict=True):
        # 3 for the 7 x 7 of 224 pixels: the last row and column are left out
        kernel = features.shape[-1] // 2
        for row, column in [(0, 0), (0, 1), (1, 0), (1, 1)]:
            rows = slice(kernel * row, kernel * (row + 1))
            columns = slice(kernel * column, kernel * (column + 1))
            expected = features[:, :, rows, columns].mean(dim=(2, 3))
            torch.testing.assert_close(ours[:, :, row, column], expected)


def test_folder_is_loaded_with_its_own_statistics(tmp_path):
    model = save_timm_folder(tmp_path)
    backbone = VisualBackbone(tmp_path, output="pooled", image_size=64)
    pixels = pictures(2, 3, 64, 64)
    mean, std = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.4, 0.5, 0.6])
    images = (pixels / 255 - mean[:, None, None]) / std[:, None, None]
    expected = model.forward_head(model.forward_features(images), pre_logits=True)
    torch.testing.assert_close(backbone(pixels)[0], expected, rtol=1e-4, atol=1e-5)
    assert VisualBackbone(f"local-dir:{tmp_path}", image_size=64)(pixels)[0].equal(
        backbone(pixels)[0]
    )


def test_state_dict_restores_weights_and_statistics(tmp_path):
    save_timm_folder(tmp_path)
    saved = VisualBackbone(tmp_path, image_size=64)
    fresh = build()
    fresh.load_state_dict(saved.state_dict())
    assert fresh(pictures(1, 3, 64, 64))[0].equal(saved(pictures(1, 3, 64, 64))[0])


def test_construction_draws_random_numbers_for_weights_only():
    torch.manual_seed(0)
    timm.create_model("test_resnet", pretrained=False, num_classes=0)
    expected = torch.rand(1)
    build()
    assert torch.rand(1).equal(expected)


def test_unreachable_hub_gives_an_error_of_one_line(monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    for name in ("resnet18", "hf-hub:nobody/nothing"):
        with pytest.raises(
            WeightsUnavailable, match=rf"'{name}'.*local folder.*pretrained: false"
        ) as caught:
            VisualBackbone(name, pretrained=True)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", ["{}", '{"architectures": ["CLIPModel"]}', '{"architecture": "test_resnet"}']
)
def test_folder_without_a_timm_model_gives_an_error_of_one_line(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(
        WeightsUnavailable, match=r"cannot be loaded.*config\.json and model\.safetensors"
    ) as caught:
        VisualBackbone(tmp_path)
    assert "\n" not in str(caught.value)


def test_broken_weights_raise(tmp_path):
    save_timm_folder(tmp_path)
    (tmp_path / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(WeightsUnavailable, match="cannot be loaded"):
        VisualBackbone(tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "resnet_eighteen"}, "neither a timm architecture nor a folder"),
        ({"name": "some/folder"}, "neither a timm architecture nor a folder"),
        ({"name": "test_vit", "output": "stages"}, "no 4 stages: use output grid or pooled"),
        ({"pool_to": 2}, "pool_to pools maps"),
        ({"output": "stages", "pool_to": 2, "image_size": 96}, "a multiple of 64"),
        (
            {"output": "stages", "pool_to": 2, "image_size": 32},
            "cannot give stages of pictures of 32 pixels",
        ),
    ],
)
def test_invalid_settings_raise(settings, message):
    with pytest.raises(ValueError, match=message):
        build(**settings)


def test_pictures_of_another_size_raise():
    with pytest.raises(ValueError, match=r"\(32, 32\).*64 x 64: set image_size"):
        build()(pictures(1, 3, 32, 32))


def test_half_precision_weights():
    backbone = build().bfloat16()
    outputs = backbone.encode_views(pictures(1, 2, 3, 64, 64), torch.tensor([[True, False]]))
    assert outputs[0].dtype == torch.bfloat16
    exact = functional.cosine_similarity(
        outputs[0][0, 0].float(), build()(pictures(1, 2, 3, 64, 64)[0, :1])[0][0], dim=0
    )
    assert exact > 0.99


@pytest.mark.parametrize("frozen", [True, False])
def test_batch_without_readable_view_gives_gradients_of_0_and_keeps_statistics(
    frozen,
):
    backbone = build("test_resnet", frozen=frozen).train()
    before = {name: value.clone() for name, value in backbone.named_buffers()}
    (features,) = backbone.encode_views(None, torch.zeros(2, 3, dtype=torch.bool))
    assert features.shape == (2, 3, *backbone.shapes[0])
    assert not features.any()
    assert features.requires_grad == (not frozen)
    if not frozen:
        features.sum().backward()
        assert all(p.grad is not None and not p.grad.any() for p in backbone.parameters())
    assert all(torch.equal(value, before[name]) for name, value in backbone.named_buffers())


def test_statistics_are_exact_in_float64():
    backbone = build()
    expected = 255 * torch.tensor(backbone.model.pretrained_cfg["mean"], dtype=torch.float64)
    rounded = backbone.state_dict()  # what a checkpoint holds
    for other in (build().double(), build().half().double()):
        other.load_state_dict(rounded)
        assert torch.equal(other.mean.flatten(), expected)


def test_statistics_of_loaded_weights_replace_the_architectures():
    weights = build().state_dict()
    weights["mean"] = torch.full((3, 1, 1), 0.5)
    backbone = build()
    backbone.load_state_dict(weights)
    assert backbone.double().mean.flatten().tolist() == [0.5] * 3


def test_blank_features_are_those_of_a_picture_of_the_mean_colour():
    backbone = build(output="stages", pool_to=2)
    backbone.keep_blank_features()
    other = build(output="stages", pool_to=2)
    for parameter in other.parameters():
        parameter.data += 0.1
    for changed in (backbone, backbone.double()):
        zeros = torch.zeros(2, 3, 64, 64, dtype=changed.mean.dtype)
        with torch.no_grad():
            maps = changed.model.forward_intermediates(zeros, indices=4, intermediates_only=True)
        for blank, stage in zip(changed.blank, maps, strict=True):
            expected = functional.avg_pool2d(stage, stage.shape[-1] // 2)[0]
            torch.testing.assert_close(blank, expected)
    before = backbone.blank[0]
    backbone.load_state_dict(other.state_dict())
    assert not torch.allclose(backbone.blank[0], before)
