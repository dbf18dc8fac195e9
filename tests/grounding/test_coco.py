"""Detectors of torchvision and their weights."""

import pytest
import torch

from mmie.blocks.errors import WeightsUnavailable
from mmie.grounding.coco import CocoDetector, coco_models
from mmie.grounding.errors import GroundingError

pytestmark = pytest.mark.slow


def test_phrases_are_names_of_categories(tiny_coco, pictures):
    detector = CocoDetector(tiny_coco)
    results = detector.detect(pictures[:2], [[], []])
    detections = [detection for result in results for detection in result]
    assert {detection.phrase for detection in detections} == {"dog"}
    assert min(detection.score for detection in detections) >= detector.threshold


def test_threshold_drops_lower_scores(tiny_coco, pictures):
    assert CocoDetector(tiny_coco, threshold=0.99999).detect(pictures[:1], [[]]) == [[]]


def test_batch_size_does_not_change_the_number_of_detections(tiny_coco, pictures):
    phrases = [[]] * len(pictures)
    together = CocoDetector(tiny_coco).detect(pictures, phrases)
    alone = CocoDetector(tiny_coco, batch_size=1).detect(pictures, phrases)
    assert list(map(len, together)) == list(map(len, alone))


def test_weights_of_frozen_normalisation_load(tiny_coco, tmp_path):
    state = torch.load(tiny_coco, weights_only=True)
    file = tmp_path / tiny_coco.name
    frozen = {name: value for name, value in state.items() if "num_batches_tracked" not in name}
    torch.save(frozen, file)
    assert CocoDetector(file).model == "fasterrcnn_mobilenet_v3_large_320_fpn"


def test_other_files_and_models_are_refused(tiny_coco, tmp_path):
    with pytest.raises(GroundingError, match="named as torchvision names its weights"):
        CocoDetector(tmp_path / "weights.pth")
    with pytest.raises(
        WeightsUnavailable, match="expected the weights of ssdlite320_mobilenet_v3_large"
    ):
        CocoDetector(tiny_coco, model="ssdlite320_mobilenet_v3_large")
    damaged = tmp_path / tiny_coco.name
    damaged.write_bytes(b"no weights")
    with pytest.raises(WeightsUnavailable, match="cannot be loaded"):
        CocoDetector(damaged)
    with pytest.raises(GroundingError, match="expected one of"):
        CocoDetector(tiny_coco, model="yolo")


def test_models_include_the_default():
    assert "fasterrcnn_resnet50_fpn_v2" in coco_models()
