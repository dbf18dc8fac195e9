"""Detectors: what they find, what it depends on, and what they say when they cannot be had."""

import json

import pytest
import torch
from PIL import Image

from mmie.blocks.errors import WeightsUnavailable
from mmie.data.pictures import load_picture
from mmie.grounding.coco import coco_models
from mmie.grounding.detectors import (
    CenterCrops,
    CocoDetector,
    Detection,
    GroundingError,
    MixedDetector,
    ZeroShotDetector,
    build_detector,
)
from mmie.grounding.selection import select
from mmie.grounding.zero_shot import closest_phrase


@pytest.fixture(scope="module")
def pictures(photographs):
    return [load_picture(file) for file in photographs.values()]


@pytest.fixture(scope="module", params=["tiny_owlv2", "tiny_grounding_dino"])
def zero_shot(request):
    return ZeroShotDetector(request.getfixturevalue(request.param), threshold=0.0)


def close(left: list[Detection], right: list[Detection], pixels: int = 2) -> bool:
    """Whether detections are equal up to the rounding of boxes and scores."""
    return len(left) == len(right) and all(
        a.phrase == b.phrase
        and abs(a.score - b.score) < 1e-3
        and all(abs(x - y) <= pixels for x, y in zip(a.box, b.box, strict=True))
        for a, b in zip(left, right, strict=True)
    )


@pytest.mark.parametrize("size", [(300, 200), (200, 300), (97, 31)])
def test_center_crops_lie_inside_and_survive_selection(size):
    (found,) = CenterCrops().detect([Image.new("RGB", size)], [[]])
    assert all(
        0 <= d.box[0] < d.box[2] <= size[0] and 0 <= d.box[1] < d.box[3] <= size[1] for d in found
    )
    assert select(found, size, 8, min_side=1) == found
    ends = sorted(found[1:3], key=lambda d: d.box)
    assert (ends[0].box[:2], ends[1].box[2:]) == ((0, 0), size)


def test_zero_shot_finds_boxes_of_the_phrases_it_is_given(zero_shot, pictures):
    phrases = [["a cat"], ["the astronaut", "a red rocket"], [], ["coffee cup"]]
    found = zero_shot.detect(pictures, phrases)
    assert [bool(own) for own in found] == [True, True, False, True]
    for own, asked in zip(found, phrases, strict=True):
        assert {detection.phrase for detection in own} <= {*asked, ""}
    assert {detection.detector for own in found for detection in own} == {zero_shot.name}


def test_zero_shot_boxes_do_not_depend_on_company(zero_shot, pictures):
    phrases = [["a cat"], ["the astronaut", "a red rocket"], ["rocket"], ["coffee cup"]]
    together = zero_shot.detect(pictures, phrases)
    alone = [
        zero_shot.detect([picture], [own])[0]
        for picture, own in zip(pictures, phrases, strict=True)
    ]
    for left, right in zip(together, alone, strict=True):
        assert len(left) == len(right) > 0
        if zero_shot.name == "owlv2":  # Grounding DINO pads pictures to the largest of the batch
            assert close(left, right)


def test_zero_shot_depends_on_phrases_and_picture(zero_shot, pictures):
    (first,) = zero_shot.detect(pictures[:1], [["a cat"]])
    (other_phrase,) = zero_shot.detect(pictures[:1], [["coffee cup"]])
    (other_picture,) = zero_shot.detect(pictures[1:2], [["a cat"]])
    assert not close(first, [d._replace(phrase="a cat") for d in other_phrase])
    assert not close(first, other_picture)


def test_zero_shot_takes_phrases_longer_than_its_text_encoder(zero_shot, pictures):
    (found,) = zero_shot.detect(pictures[:1], [["a cat. " * 100, " . "]])
    assert found


def test_zero_shot_leaves_out_what_is_below_the_threshold(tiny_owlv2, pictures):
    every, few = (ZeroShotDetector(tiny_owlv2, threshold=limit) for limit in (0.0, 0.6))
    expected = [d for d in every.detect(pictures[:1], [["a cat"]])[0] if d.score > 0.6]
    assert 0 < len(expected) < 16
    assert few.detect(pictures[:1], [["a cat"]])[0] == expected
    assert every.identity != few.identity


def test_zero_shot_identity_follows_the_weights(tiny_owlv2, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in tiny_owlv2.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    assert ZeroShotDetector(copy).identity == ZeroShotDetector(tiny_owlv2).identity
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**config, "comment": "changed"}))
    assert ZeroShotDetector(copy).identity != ZeroShotDetector(tiny_owlv2).identity


@pytest.mark.parametrize(
    ("label", "phrase"),
    [
        ("red car", "red car"),
        ("car", "red car"),
        ("tall man", "a tall man"),
        ("dog", ""),
        ("red man car", "red car"),
    ],
)
def test_label_is_traced_to_its_phrase(label, phrase):
    assert closest_phrase(label, ["a tall man", "red car"]) == phrase


def test_coco_names_categories(tiny_coco, pictures):
    detector = CocoDetector(tiny_coco)
    found = detector.detect(pictures[:2], [[], []])
    assert {detection.phrase for own in found for detection in own} == {"dog"}
    assert min(detection.score for own in found for detection in own) >= detector.threshold
    assert CocoDetector(tiny_coco, threshold=0.99999).detect(pictures[:1], [[]]) == [[]]


def test_coco_weights_of_frozen_normalisation_load(tiny_coco, tmp_path):
    state = torch.load(tiny_coco, weights_only=True)
    file = tmp_path / tiny_coco.name
    torch.save(
        {name: value for name, value in state.items() if "num_batches_tracked" not in name}, file
    )
    assert CocoDetector(file).model == "fasterrcnn_mobilenet_v3_large_320_fpn"


def test_coco_refuses_other_files(tiny_coco, tmp_path):
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


def test_every_coco_model_has_categories():
    assert "fasterrcnn_resnet50_fpn_v2" in coco_models()


def test_mixture_takes_sources_in_turn(tiny_coco, pictures):
    mixed = MixedDetector([CocoDetector(tiny_coco), CenterCrops()])
    (found,) = mixed.detect(pictures[:1], [[]])
    chosen = select(found, pictures[0].size, 4)
    assert [detection.detector for detection in chosen[:2]] == ["coco", "center"]
    assert mixed.name == "coco+center"
    assert not mixed.reads_phrases
    assert MixedDetector([CenterCrops()]).identity != mixed.identity


def test_detectors_by_name(tiny_coco, tiny_owlv2):
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
def test_wrong_names_are_told(name, message):
    with pytest.raises(GroundingError, match=message):
        build_detector(name)


def test_a_detector_that_cannot_be_had_is_told(tmp_path):
    with pytest.raises(WeightsUnavailable, match="or use center, which needs no weights"):
        build_detector("nobody/nothing")
    with pytest.raises(WeightsUnavailable, match="the folder holds no model"):
        build_detector(str(tmp_path))
