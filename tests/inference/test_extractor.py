"""Extraction finds what the methods find, whatever the form and the batch mates of a post."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.methods import make_batch
from PIL import Image

import mmie
from mmie.checkpoints import CheckpointError
from mmie.data.pictures import load_picture
from mmie.inference import Extractor, load_pair
from mmie.inference.extractor import _drop_weaker_directions
from mmie.inference.formats.text import to_json
from mmie.inference.reading import PostError
from mmie.methods import DGHC, IMM, RAP, MLNet, MLNetPretraining, TextOnly
from mmie.methods.loading import load_method
from mmie.methods.mlnet_pretraining import PredictionUnsupported
from mmie.types import Entity, Mention, Post, Relation, Triple
from mmie.utils.devices import DeviceError

pd = pytest.importorskip("pandas")

TINY = {"vision_backbone": "test_resnet"}
METHODS = {
    TextOnly: {},
    RAP: TINY,
    DGHC: {"vision_backbone": "test_vit"},
    IMM: {"clip": None, "patch_embedding": None},
    MLNet: {"vision_backbone": "test_vit", "fusion_layers": 1},
}
"""Small versions of methods, by their constructor arguments."""


def spans(extraction):
    """Return start, end and type of each mention, in characters."""
    return [(mention.start, mention.end, mention.type) for mention in extraction.entities]


def probabilities(extraction):
    """Return the probability of each mention."""
    return [mention.probability for mention in extraction.entities]


def character_spans(post, entities):
    """Convert entities to start, end and type in the words joined by spaces."""
    starts = np.cumsum([0, *(len(word) + 1 for word in post.words)])
    spans = []
    for entity in entities:
        last = entity.end - 1
        end = starts[last] + len(post.words[last])
        spans.append((starts[entity.start], end, entity.type))
    return spans


def test_entities_are_those_of_the_method(
    ner_extractor, demo_posts, demo_data, tiny_bert, random_pair
):
    data, method = demo_data("ner", tiny_bert), load_method(random_pair["ner"])
    instances = data.instances["test"]
    with torch.no_grad():
        predictions = method(make_batch(data, instances))
    extractions = ner_extractor.extract(demo_posts)
    assert sum(len(extraction.entities) for extraction in extractions) > len(demo_posts)
    results = zip(instances, predictions, extractions, strict=True)
    for instance, prediction, extraction in results:
        assert extraction.id == instance.post.id == prediction.id
        assert spans(extraction) == character_spans(instance.post, prediction.entities)
        for mention in extraction.entities:
            assert extraction.text[mention.start : mention.end] == mention.text


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("task", ["ner", "re"])
def test_every_method_extracts(method, task, save_checkpoint, demo_posts):
    checkpoint = save_checkpoint(method, task, **METHODS[method])
    extractor = Extractor.from_checkpoint(checkpoint, device="cpu")
    extractions = extractor.extract(demo_posts)
    assert [extraction.id for extraction in extractions] == [post.id for post in demo_posts]
    attribute = "entities" if task == "ner" else "relations"
    assert any(getattr(extraction, attribute) for extraction in extractions)


@pytest.mark.slow
def test_results_do_not_depend_on_batches_and_windows(random_pair, pair_extractor, demo_posts):
    sizes = {"batch_size": 3, "window": 5, "workers": 1}
    small = load_pair(random_pair["ner"], random_pair["re"], device="cpu", **sizes)
    whole = pair_extractor.extract(demo_posts)
    for extraction, other in zip(whole, small.stream(iter(demo_posts)), strict=True):
        assert spans(extraction) == spans(other)
        labels = [triple.label for triple in extraction.relations]
        assert labels == [triple.label for triple in other.relations]
        items = (*extraction.entities, *extraction.relations)
        other_items = (*other.entities, *other.relations)
        for item, other_item in zip(items, other_items, strict=True):
            assert item.probability == pytest.approx(other_item.probability, abs=1e-5)


def test_a_stream_holds_two_windows_at_most(random_pair, demo_posts):
    extractor = Extractor.from_checkpoint(random_pair["ner"], device="cpu", window=4)
    num_taken = 0

    def endless_posts():
        nonlocal num_taken
        while True:
            for post in demo_posts:
                num_taken += 1
                yield post

    stream = extractor.stream(endless_posts())
    for count in range(1, 20):
        next(stream)
        assert num_taken <= 4 * (count // 4 + 3)


def test_pictures_may_be_files_bytes_images_or_arrays(ner_extractor, demo_posts):
    post = next(post for post in demo_posts if post.image is not None)
    array = np.asarray(load_picture(post.image))
    png = io.BytesIO()
    Image.fromarray(array).save(png, "png")
    images = [
        post.image,
        str(post.image),
        post.image.read_bytes(),
        Image.fromarray(array),
        array,
        png.getvalue(),
    ]
    without_crops = replace(post, crops=())
    first, *others = ner_extractor.extract(
        [replace(without_crops, image=image) for image in images]
    )
    expected = probabilities(first)
    for extraction in others:
        assert spans(extraction) == spans(first)
        assert probabilities(extraction) == pytest.approx(expected, abs=1e-6)
    (without_image,) = ner_extractor.extract([replace(without_crops, image=None)])
    assert probabilities(without_image) != pytest.approx(expected, abs=1e-3)


def test_unreadable_parts_of_a_post_are_reported(ner_extractor, tmp_path):
    (tmp_path / "note.jpg").write_text("no picture")
    no_picture = tmp_path / "note.jpg"
    two_channels = np.zeros((4, 4, 2), np.uint8)
    missing, broken, blank, long = ner_extractor.extract(
        [
            Post(text="Jordan lands", image=tmp_path / "missing.jpg"),
            Post(text="Jordan lands", image=no_picture, crops=(b"", two_channels)),
            Post(text=" \n"),
            Post(text="Jordan lands" + " " * 100_000 + "again"),
        ]
    )
    assert missing.problems == ("image: missing",)
    assert broken.problems[0] == "image: not a picture"
    assert broken.problems[2] == "crop: not a picture: an array of uint8 and shape (4, 4, 2)"
    assert blank.problems == ("text: no words",)
    assert long.problems == ("text: only its first 100000 characters were split into words",)
    (text_alone,) = ner_extractor.extract([Post(text="Jordan lands")])
    assert spans(missing) == spans(text_alone)


def test_offsets_count_in_the_original_text(ner_extractor):
    text = "  RT @ann:  Jordan's 🛩️ landed\n\nin  New York!! \ud800"
    (extraction,) = ner_extractor.extract([Post(text=text)])
    assert len(extraction.text) == len(text)
    for start, end in extraction.offsets[:-1]:
        assert text[start:end].strip() == text[start:end] != ""
    for mention in extraction.entities:
        if "?" not in mention.text:  # in the place of the surrogate
            assert text[mention.start : mention.end] == mention.text


def test_words_may_come_with_offsets_or_without(ner_extractor):
    text = "Jordan landed in Rome"
    words = tuple(text.split())
    offsets = ((0, 6), (7, 13), (14, 16), (17, 21))
    posts = [Post(words=words), Post(words=words, text=text, offsets=offsets), Post(text=text)]
    of_words, of_offsets, of_text = ner_extractor.extract(posts)
    assert of_words.entities == of_offsets.entities == of_text.entities


def test_a_pair_relates_the_entities_that_it_finds(pair_extractor, demo_posts):
    extractions = pair_extractor.extract(demo_posts)
    labels = "".join(pair_extractor.re.schema.labels)
    assert any(extraction.relations for extraction in extractions)
    for extraction in extractions:
        for triple in extraction.relations:
            assert triple.head in extraction.entities
            assert triple.tail in extraction.entities
            assert f"/{triple.head.type}/{triple.tail.type}/".lower() in labels
            assert 0 < triple.probability <= 1


def test_all_relations_that_a_post_names_are_classified(random_pair, demo_data, tiny_bert):
    data, method = demo_data("re", tiny_bert), load_method(random_pair["re"])
    instances = data.instances["test"]
    with torch.no_grad():
        predictions = method(make_batch(data, instances))
    extractor = Extractor.from_checkpoint(random_pair["re"], device="cpu")
    extractions = extractor.extract([instance.post for instance in instances])
    for prediction, extraction in zip(predictions, extractions, strict=True):
        label = prediction.relations[0].label
        expected = [] if label == "None" else [label]
        assert [triple.label for triple in extraction.relations] == expected
    ann, rome = Entity(0, 1, "PER"), Entity(2, 3, "LOC")
    both_ways = (Relation(ann, rome, ""), Relation(rome, ann, ""))
    (extraction,) = extractor.extract([Post(words=("Ann", "saw", "Rome"), relations=both_ways)])
    assert len(extraction.relations) <= 2


@pytest.mark.parametrize(
    ("along_text", "against_text", "head"),
    [(0.98, 0.99, "Ann"), (0.5, 0.99, "Ann"), (0.3, 0.99, "Bob")],
)
def test_a_relation_goes_along_the_text_unless_the_other_way_is_much_more_probable(
    along_text, against_text, head
):
    ann, bob = Mention("Ann", "PER", 0, 3, 1.0), Mention("Bob", "PER", 8, 11, 1.0)
    triples = [
        Triple(bob, "peer", ann, against_text),
        Triple(ann, "peer", bob, along_text),
        Triple(bob, "boss", ann, 0.9),
    ]
    heads = {triple.label: triple.head.text for triple in _drop_weaker_directions(triples)}
    assert len(_drop_weaker_directions(triples)) == 2
    assert heads == {"peer": head, "boss": "Bob"}


def test_a_cropper_cuts_missing_crops(random_pair, ner_extractor, demo_posts):
    class Corners:
        def crops(self, picture, words):
            assert words
            return [picture.crop((0, 0, picture.width // 2, picture.height // 2))] * 5

    post = next(post for post in demo_posts if post.image is not None)
    post = replace(post, crops=())
    cropping = Extractor.from_checkpoint(random_pair["ner"], device="cpu", cropper=Corners())
    (without_crops,) = ner_extractor.extract([post])
    (with_crops,) = cropping.extract([post])
    assert without_crops.entities != with_crops.entities


def test_results_of_a_frame_are_columns(ner_extractor, demo_posts):
    rows = []
    for post in demo_posts:
        image = str(post.image) if post.image else None
        rows.append({"caption": " ".join(post.words), "photo": image})
    rows[0]["caption"] = float("nan")
    frame = pd.DataFrame(rows, index=[f"row {number}" for number in range(len(rows))])
    result = ner_extractor.extract_frame(frame, text="caption", image="photo")
    assert list(result.index) == list(frame.index)
    assert "entities" not in frame.columns
    assert result["problems"].iloc[0] == ["text: no words"]
    entity = next(entity for entities in result["entities"] for entity in entities)
    assert set(entity) == {"text", "type", "start", "end", "probability"}
    with pytest.raises(PostError, match="no column 'text'"):
        ner_extractor.extract_frame(frame)
    renamed = frame.rename(columns={"caption": "text", "photo": "image"})
    extractions = ner_extractor.extract(renamed)
    entities = [to_json(extraction)["entities"] for extraction in extractions]
    assert entities == list(result["entities"])


def test_the_package_exports_the_main_names():
    assert (mmie.Extractor, mmie.load_pair, mmie.Post) == (Extractor, load_pair, Post)
    with pytest.raises(AttributeError, match="no attribute 'load_pairs'"):
        mmie.load_pairs  # noqa: B018


def test_a_checkpoint_of_the_other_task_is_refused(random_pair):
    with pytest.raises(CheckpointError, match="of the task ner: expected one of re"):
        load_pair(random_pair["ner"], random_pair["ner"], device="cpu")


def test_missing_devices_checkpoints_and_methods_are_refused(random_pair, tmp_path):
    with pytest.raises(DeviceError, match="device 'cuda:7' is not there"):
        Extractor.from_checkpoint(random_pair["ner"], device="cuda:7")
    with pytest.raises(CheckpointError, match="does not exist"):
        Extractor.from_checkpoint(tmp_path / "none.ckpt")
    with pytest.raises(ValueError, match="for entities, one for relations, or both"):
        Extractor()


def test_a_pretraining_extracts_nothing(save_checkpoint):
    path = save_checkpoint(MLNetPretraining, "ner", vision_backbone="test_vit", fusion_layers=1)
    extractor = Extractor.from_checkpoint(path, device="cpu")
    with pytest.raises(PredictionUnsupported):
        extractor.extract([Post(text="Jordan")])
