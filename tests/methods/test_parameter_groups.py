"""Parameter groups of the optimiser."""

import torch
from helpers.methods import build_data, build_module, parameter_names
from torch import nn

from mmie.methods import RAP, TextOnly
from mmie.methods.parameter_groups import build_parameter_groups, undecayed_parameters

RATES = {"text": 1.0, "fusion": 2.0, "head": 3.0}
SMALL_RAP = {"vision_backbone": "test_resnet", "num_fusion_layers": 2, "prompt_length": 4}


class TinyModule(nn.Module):
    """Module with one part for each learning rate."""

    def __init__(self):
        super().__init__()
        self.text = nn.ModuleDict({"words": nn.Embedding(5, 4), "map": nn.Linear(4, 4)})
        self.fusion = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))
        self.scale = nn.Parameter(torch.ones(4))
        self.head = nn.Linear(4, 2)


class ModuleWithPositions(nn.Module):
    """Module that exempts its positions by timm's ``no_weight_decay``."""

    def __init__(self):
        super().__init__()
        self.positions = nn.Parameter(torch.zeros(3, 4))
        self.map = nn.Linear(4, 4)

    def no_weight_decay(self):
        return {"positions"}


def test_groups_have_the_rates_and_decays_of_their_parts():
    module = TinyModule()
    module.fusion[0].weight.requires_grad_(False)
    groups = build_parameter_groups(module, [module.text], [module.head], RATES, 0.5)
    names = {parameter: name for name, parameter in module.named_parameters()}
    settings = {}
    for group in groups:
        group_names = {names[parameter] for parameter in group["params"]}
        settings[group["name"]] = (group["lr"], group["weight_decay"], group_names)
    assert settings == {
        "text": (1.0, 0.5, {"text.map.weight"}),
        "text_no_decay": (1.0, 0.0, {"text.words.weight", "text.map.bias"}),
        "fusion_no_decay": (
            2.0,
            0.0,
            {"scale", "fusion.0.bias", "fusion.1.weight", "fusion.1.bias"},
        ),
        "head": (3.0, 0.5, {"head.weight"}),
        "head_no_decay": (3.0, 0.0, {"head.bias"}),
    }


def test_parameters_exempted_by_a_part_do_not_decay():
    module = nn.Sequential(ModuleWithPositions(), nn.Linear(4, 4))
    part = module[0]
    assert undecayed_parameters(module) == {part.positions, part.map.bias, module[1].bias}


def test_learning_rates_and_decay_are_the_constructors(demo_data, tiny_bert):
    schema = demo_data("ner", tiny_bert).schema
    rates = {"text_lr": 1.0, "fusion_lr": 2.0, "head_lr": 3.0}
    module = build_module(RAP, schema, tiny_bert, weight_decay=0.5, **rates, **SMALL_RAP)
    settings = {}
    for group in module.parameter_groups():
        settings[group["name"]] = (group["lr"], group["weight_decay"])
    assert settings == {
        "text": (1.0, 0.5),
        "text_no_decay": (1.0, 0.0),
        "fusion": (2.0, 0.5),
        "fusion_no_decay": (2.0, 0.0),
        "head": (3.0, 0.5),
        "head_no_decay": (3.0, 0.0),
    }


def test_frozen_text_encoder_is_in_no_group(demo_data, tiny_bert):
    schema = demo_data("ner", tiny_bert).schema
    trained = build_module(TextOnly, schema, tiny_bert)
    frozen = build_module(TextOnly, schema, tiny_bert, freeze_text=True)
    assert parameter_names(trained) == parameter_names(frozen)
    assert {group["name"] for group in frozen.parameter_groups()} == {"head", "head_no_decay"}
    names = {group["name"].split("_")[0] for group in trained.parameter_groups()}
    assert names == {"text", "head"}


def test_positions_of_a_vit_do_not_decay(demo_data, tiny_bert):
    schema = demo_data("ner", tiny_bert).schema
    arguments = {**SMALL_RAP, "vision_backbone": "test_vit", "freeze_vision": False}
    module = build_module(RAP, schema, tiny_bert, weight_decay=0.1, **arguments)
    decays = {}
    for group in module.parameter_groups():
        decays.update(dict.fromkeys(group["params"], group["weight_decay"]))
    model = module.vision.model
    assert decays[model.pos_embed] == decays[model.cls_token] == 0
    assert decays[model.blocks[0].attn.qkv.weight] == 0.1


def test_rates_of_text_layers_decay_downwards(demo_root, tiny_bert):
    data = build_data(demo_root, "ner", tiny_bert)
    module = build_module(TextOnly, data.schema, tiny_bert, text_lr=1.0, text_lr_decay=0.5)
    names = {parameter: name for name, parameter in module.named_parameters()}
    rates = {}
    for group in module.parameter_groups():
        rates.update({names[parameter]: group["lr"] for parameter in group["params"]})
    layers = module.text.num_layers
    assert rates["text.model.embeddings.word_embeddings.weight"] == 0.5**layers
    for layer in range(layers):
        name = f"text.model.encoder.layer.{layer}.output.dense.weight"
        assert rates[name] == 0.5 ** (layers - 1 - layer)
    assert rates["head.emission.weight"] == module.learning_rates["head"]
    group_names = [group["name"] for group in module.parameter_groups()]
    assert len(set(group_names)) == len(group_names)
    assert f"text_below_{layers}_no_decay" in group_names
