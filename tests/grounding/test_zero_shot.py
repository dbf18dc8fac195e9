"""Open-vocabulary detectors: dependence on phrases, pictures, batches and thresholds."""

import json

import pytest

from mmie.grounding.detection import Detection
from mmie.grounding.zero_shot import ZeroShotDetector, closest_phrase


@pytest.fixture(scope="module", params=["tiny_owlv2", "tiny_grounding_dino"])
def zero_shot(request):
    return ZeroShotDetector(request.getfixturevalue(request.param), threshold=0.0)


def close(left: list[Detection], right: list[Detection], pixels: int = 2) -> bool:
    """Tell whether detections are equal up to the rounding of boxes and scores."""
    if len(left) != len(right):
        return False
    for first, second in zip(left, right, strict=True):
        differences = [abs(a - b) for a, b in zip(first.box, second.box, strict=True)]
        if first.phrase != second.phrase or max(differences) > pixels:
            return False
        if abs(first.score - second.score) >= 1e-3:
            return False
    return True


def test_detections_are_of_the_given_phrases(zero_shot, pictures):
    phrases = [["a cat"], ["the astronaut", "a red rocket"], [], ["coffee cup"]]
    results = zero_shot.detect(pictures, phrases)
    assert [bool(detections) for detections in results] == [True, True, False, True]
    for detections, picture_phrases in zip(results, phrases, strict=True):
        assert {detection.phrase for detection in detections} <= {*picture_phrases, ""}
        assert {detection.detector for detection in detections} <= {zero_shot.name}


@pytest.mark.slow
def test_detections_do_not_depend_on_the_batch(zero_shot, pictures):
    phrases = [["a cat"], ["the astronaut", "a red rocket"], ["rocket"], ["coffee cup"]]
    together = zero_shot.detect(pictures, phrases)
    for index, detections in enumerate(together):
        (alone,) = zero_shot.detect([pictures[index]], [phrases[index]])
        assert len(detections) == len(alone) > 0
        if zero_shot.name == "owlv2":  # Grounding DINO pads pictures to the largest of the batch
            assert close(detections, alone)


def test_batch_size_does_not_change_detections(tiny_owlv2, pictures):
    phrases = [["a cat"], ["rocket"], ["coffee cup"], []]
    small, large = (ZeroShotDetector(tiny_owlv2, "cpu", 0.0, size) for size in (2, 8))
    for left, right in zip(
        small.detect(pictures, phrases), large.detect(pictures, phrases), strict=True
    ):
        assert close(left, right)


def test_detections_depend_on_phrases_and_picture(zero_shot, pictures):
    (first,) = zero_shot.detect(pictures[:1], [["a cat"]])
    (other_phrase,) = zero_shot.detect(pictures[:1], [["coffee cup"]])
    (other_picture,) = zero_shot.detect(pictures[1:2], [["a cat"]])
    renamed = [detection._replace(phrase="a cat") for detection in other_phrase]
    assert not close(first, renamed)
    assert not close(first, other_picture)


def test_phrases_longer_than_the_text_encoder_are_truncated(zero_shot, pictures):
    (detections,) = zero_shot.detect(pictures[:1], [["a cat. " * 100, " . "]])
    assert detections


def test_threshold_drops_lower_scores(tiny_owlv2, pictures):
    without, with_threshold = (
        ZeroShotDetector(tiny_owlv2, threshold=least) for least in (0.0, 0.6)
    )
    (detections,) = without.detect(pictures[:1], [["a cat"]])
    expected = [detection for detection in detections if detection.score > 0.6]
    assert 0 < len(expected) < 16
    assert with_threshold.detect(pictures[:1], [["a cat"]])[0] == expected
    assert without.identity != with_threshold.identity


def test_identity_depends_on_the_files(tiny_owlv2, tmp_path):
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
def test_label_is_mapped_to_its_phrase(label, phrase):
    assert closest_phrase(label, ["a tall man", "red car"]) == phrase
