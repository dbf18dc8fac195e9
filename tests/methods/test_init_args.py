"""Recorded constructor arguments."""

from helpers.methods import build_module

from mmie.methods import RAP, RSRNeT, TextOnly
from mmie.methods.init_args import constructor_defaults


def test_positional_and_keyword_arguments_are_recorded(demo_data, tiny_bert):
    schema = demo_data("ner", tiny_bert).schema
    module = TextOnly(schema, tiny_bert, False, dropout=0.3)
    assert module.init_args == {
        "schema": schema,
        "text_encoder": tiny_bert,
        "pretrained": False,
        "dropout": 0.3,
    }
    module = RAP(schema, "test_resnet", 2, text_encoder=tiny_bert, pretrained=False)
    assert module.init_args["num_fusion_layers"] == 2
    assert module.init_args["vision_backbone"] == "test_resnet"


def test_arguments_that_a_subclass_passes_on_are_not_recorded(demo_data, tiny_bert):
    schema = demo_data("ner", tiny_bert).schema
    module = build_module(RSRNeT, schema, tiny_bert, vision_backbone="test_resnet")
    assert module.init_args.keys() == {"schema", "text_encoder", "pretrained", "vision_backbone"}


def test_defaults_of_a_class_take_the_place_of_those_of_its_parents():
    defaults = constructor_defaults(RSRNeT)
    assert (defaults["text_encoder"], defaults["vision_backbone"]) == (
        "xlm-roberta-base",
        "resnest50d",
    )
    assert (defaults["mapping"], defaults["pretrained_vision"]) == ("dynamic", True)
    assert "schema" not in defaults
