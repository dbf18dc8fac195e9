"""Detectors by name, and mixtures of detectors."""

import pytest

from mmie.blocks.errors import WeightsUnavailable
from mmie.grounding.center import CenterCrops
from mmie.grounding.coco import CocoDetector
from mmie.grounding.detectors import MixedDetector, build_detector
from mmie.grounding.errors import GroundingError
from mmie.grounding.selection import select


def test_sources_of_a_mixture_are_selected_in_turn(tiny_coco, pictures):
    mixed = MixedDetector([CocoDetector(tiny_coco), CenterCrops()])
    (detections,) = mixed.detect(pictures[:1], [[]])
    selected = select(detections, pictures[0].size, 4)
    assert [detection.detector for detection in selected[:2]] == ["coco", "center"]
    assert mixed.name == "coco+center"
    assert not mixed.reads_phrases
    assert MixedDetector([CenterCrops()]).identity != mixed.identity


def test_build_detector_by_name(tiny_coco, tiny_owlv2):
    assert isinstance(build_detector("center"), CenterCrops)
    mixed = build_detector(f"{tiny_owlv2}+coco:{tiny_coco}+center")
    assert mixed.name == "owlv2+coco+center"
    assert mixed.reads_phrases


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "expected center, coco"),
        ("center+", "expected center, coco"),
        ("coco:nowhere.pth", "expected a file of weights"),
    ],
)
def test_wrong_names_are_refused(name, message):
    with pytest.raises(GroundingError, match=message):
        build_detector(name)


def test_unavailable_detectors_are_refused_with_a_fix(tmp_path):
    with pytest.raises(WeightsUnavailable, match="or use center, which needs no weights"):
        build_detector("nobody/nothing")
    with pytest.raises(WeightsUnavailable, match="the folder holds no model"):
        build_detector(str(tmp_path))
