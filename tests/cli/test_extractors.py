"""Extractors built from the options of a command."""

from pathlib import Path

import pytest

from mmie.checkpoints import CheckpointError
from mmie.cli.extractors import (
    ExtractorSettings,
    OnnxSettings,
    add_onnx_arguments,
    build_extractor,
    onnx_settings,
)
from mmie.cli.parsing import OneLineParser, UsageError
from mmie.grounding.cropper import Cropper
from mmie.grounding.errors import GroundingError
from mmie.methods import TextOnly
from mmie.utils.devices import DeviceError


@pytest.fixture(scope="module")
def text_only(save_checkpoint):
    """A checkpoint of a method that uses no images."""
    return save_checkpoint(TextOnly, "ner")


def test_two_checkpoints_and_a_detector(random_pair):
    options = ExtractorSettings(**random_pair, detector="center", device="cpu")
    extractor = build_extractor(options)
    assert extractor.ner is not None
    assert extractor.re is not None
    assert isinstance(extractor.cropper, Cropper)
    assert extractor.cropper.num_crops == 3, "HVPNet reads three crops"


def test_number_of_crops_can_be_given(random_pair):
    options = ExtractorSettings(random_pair["ner"], detector="center", device="cpu", num_crops=2)
    assert build_extractor(options).cropper.num_crops == 2


def test_no_detector(random_pair):
    extractor = build_extractor(ExtractorSettings(random_pair["ner"], device="cpu"))
    assert (extractor.re, extractor.cropper) == (None, None)


def test_methods_without_images_need_no_detector(text_only):
    options = ExtractorSettings(text_only, detector="center", device="cpu")
    assert build_extractor(options).cropper is None


def test_options_reach_the_extractor(random_pair):
    options = ExtractorSettings(
        random_pair["ner"],
        device="cpu",
        precision="bfloat16",
        batch_size=3,
        window=5,
        workers=1,
    )
    extractor = build_extractor(options)
    assert (extractor.window, extractor.workers) == (5, 1)
    assert (extractor.ner.batch_size, extractor.ner.half) == (3, True)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, CheckpointError, "no checkpoint is named"),
        ({"ner": "re"}, CheckpointError, "is of the task re: expected one of ner"),
        ({"ner": "ner", "device": "abacus"}, DeviceError, "device 'abacus'"),
        ({"ner": "ner", "detector": "a++b"}, GroundingError, "expected center, coco"),
    ],
)
def test_wrong_options_are_refused(random_pair, options, error, message):
    if "ner" in options:
        options = {**options, "ner": random_pair[options["ner"]]}
    with pytest.raises(error, match=message):
        build_extractor(ExtractorSettings(**{"device": "cpu", **options}))


def test_onnx_options_name_the_folder_of_graphs_and_the_calibration(text_only, tmp_path):
    options = ExtractorSettings(
        text_only, device="cpu", precision="bfloat16", onnx=OnnxSettings(graphs=tmp_path / "graphs")
    )
    with pytest.raises(ValueError, match="ONNX Runtime computes on the CPU"):
        build_extractor(options)
    assert not (tmp_path / "graphs").exists()


def test_the_calibration_is_read_for_methods_that_use_images(random_pair, tmp_path):
    onnx = OnnxSettings("int8", calibration=tmp_path)
    options = ExtractorSettings(random_pair["ner"], onnx=onnx)
    with pytest.raises(ValueError, match="holds no picture that can be read"):
        build_extractor(options)


def parse_onnx(*line):
    """Parse a line of the options of ONNX Runtime."""
    parser = OneLineParser(prog="mmie")
    parser.add_argument("--engine", type=str, default="local")
    add_onnx_arguments(parser)
    return onnx_settings(parser.parse_args(list(line)))


def test_onnx_options_belong_to_the_engine():
    assert parse_onnx() is None
    assert parse_onnx("--engine", "onnx") == OnnxSettings()
    line = ("--engine", "onnx", "--onnx_precision", "int8", "--onnx_calibration", "pictures")
    assert parse_onnx(*line) == OnnxSettings("int8", Path("pictures"))
    with pytest.raises(UsageError, match="--onnx go with --engine onnx"):
        parse_onnx("--onnx_precision", "int8")
