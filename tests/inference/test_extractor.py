"""What an Extractor finds is what the method finds, whatever the form and the company of a post."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers.methods import make_batch
from PIL import Image

import mmie
from mmie.checkpoints import CheckpointError
from mmie.data import DemoCorpus
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


@pytest.fixture(scope="module")
def posts(demo_root):
    return DemoCorpus(demo_root).posts("test")


@pytest.fixture(scope="module")
def ner(random_pair):
    return Extractor.from_checkpoint(random_pair["ner"], device="cpu")


@pytest.fixture(scope="module")
def pair(random_pair):
    return load_pair(random_pair["ner"], random_pair["re"], device="cpu")


def mentions(extraction):
    return [(mention.start, mention.end, mention.type) for mention in extraction.entities]


def places(post, entities):
    """Entities by characters of the words joined by spaces."""
    starts = np.cumsum([0, *(len(word) + 1 for word in post.words)])
    return [
        (starts[e.start], starts[e.end - 1] + len(post.words[e.end - 1]), e.type) for e in entities
    ]


def test_finds_what_the_method_finds(ner, posts, demo_data, tiny_bert, random_pair):
    data, method = demo_data("ner", tiny_bert), load_method(random_pair["ner"])
    instances = data.instances["test"]
    with torch.no_grad():
        expected = method(make_batch(data, instances))
    found = ner.extract(posts)
    assert sum(len(extraction.entities) for extraction in found) > len(posts)
    for instance, prediction, extraction in zip(instances, expected, found, strict=True):
        assert extraction.id == instance.post.id == prediction.id
        assert mentions(extraction) == places(instance.post, prediction.entities)
        assert all(extraction.text[m.start : m.end] == m.text for m in extraction.entities)


@pytest.mark.parametrize("method", [TextOnly, RAP, DGHC, IMM, MLNet])
@pytest.mark.parametrize("task", ["ner", "re"])
def test_every_method_answers(method, task, save_checkpoint, posts):
    sizes = {"vision_backbone": "test_vit" if method in (DGHC, MLNet) else "test_resnet"}
    if method is IMM:
        sizes = {"clip": None, "patch_embedding": None}
    if method is TextOnly:
        sizes = {}
    if method is MLNet:
        sizes["fusion_layers"] = 1
    extractor = Extractor.from_checkpoint(save_checkpoint(method, task, **sizes), device="cpu")
    found = extractor.extract(posts)
    assert [extraction.id for extraction in found] == [post.id for post in posts]
    assert any(
        extraction.entities if task == "ner" else extraction.relations for extraction in found
    )


def test_company_and_windows_change_nothing(random_pair, posts):
    whole = load_pair(random_pair["ner"], random_pair["re"], device="cpu").extract(posts)
    small = load_pair(
        random_pair["ner"], random_pair["re"], device="cpu", batch_size=3, window=5, workers=1
    )
    for one, other in zip(whole, small.stream(iter(posts)), strict=True):
        assert mentions(one) == mentions(other)
        assert [t.label for t in one.relations] == [t.label for t in other.relations]
        for mine, theirs in zip(
            (*one.entities, *one.relations), (*other.entities, *other.relations), strict=True
        ):
            assert mine.probability == pytest.approx(theirs.probability, abs=1e-5)


def test_a_stream_holds_two_windows_at_most(random_pair, posts):
    extractor = Extractor.from_checkpoint(random_pair["ner"], device="cpu", window=4)
    taken = 0

    def endless():
        nonlocal taken
        while True:
            for post in posts:
                taken += 1
                yield post

    stream = extractor.stream(endless())
    for count in range(1, 20):
        next(stream)
        assert taken <= 4 * (count // 4 + 3)


def test_pictures_in_every_form(ner, posts):
    post = next(post for post in posts if post.image is not None)
    plain = replace(post, crops=())
    array = np.asarray(load_picture(post.image))
    png = io.BytesIO()
    Image.fromarray(array).save(png, "png")
    forms = [
        post.image,
        str(post.image),
        post.image.read_bytes(),
        Image.fromarray(array),
        array,
        png.getvalue(),
    ]
    found = ner.extract([replace(plain, image=form) for form in forms])
    blind = ner.extract([replace(plain, image=None)])[0]
    for extraction in found:
        assert mentions(extraction) == mentions(found[0])
        expected = [mention.probability for mention in found[0].entities]
        assert [mention.probability for mention in extraction.entities] == pytest.approx(
            expected, abs=1e-6
        )
    assert [mention.probability for mention in blind.entities] != pytest.approx(expected, abs=1e-3)


def test_what_cannot_be_read_is_said(ner, posts, tmp_path):
    (tmp_path / "note.jpg").write_text("no picture")
    bad = [
        Post(text="Jordan lands", image=tmp_path / "missing.jpg"),
        Post(
            text="Jordan lands",
            image=tmp_path / "note.jpg",
            crops=(b"", np.zeros((4, 4, 2), np.uint8)),
        ),
        Post(text=" \n"),
        Post(text="Jordan lands " * 100),
    ]
    found = ner.extract(bad)
    assert found[0].problems == ("image: missing",)
    assert found[1].problems[0] == "image: not a picture"
    assert found[1].problems[2] == "crop: not a picture: an array of uint8 and shape (4, 4, 2)"
    assert found[2].problems == ("text: no words",)
    assert found[3].problems[0].startswith("text: only the first")
    assert mentions(found[0]) == mentions(ner.extract([Post(text="Jordan lands")])[0])


def test_offsets_count_in_the_original_text(ner):
    text = "  RT @ann:  Jordan's 🛩️ landed\n\nin  New York!! \ud800"
    (found,) = ner.extract([Post(text=text)])
    assert len(found.text) == len(text)
    assert all(
        text[start:end].strip() == text[start:end] != "" for start, end in found.offsets[:-1]
    )
    assert all(text[m.start : m.end] == m.text for m in found.entities if "?" not in m.text)


def test_words_with_offsets_and_without(ner):
    text = "Jordan landed in Rome"
    words = tuple(text.split())
    offsets = ((0, 6), (7, 13), (14, 16), (17, 21))
    joined, given, split = ner.extract(
        [Post(words=words), Post(words=words, text=text, offsets=offsets), Post(text=text)]
    )
    assert joined.entities == given.entities == split.entities
    with pytest.raises(PostError, match="4 words, 0 offsets"):
        ner.extract([Post(words=words, text=text)])


def test_a_pair_gives_triples_between_the_entities_found(pair, posts):
    found = pair.extract(posts)
    labels = pair.re.schema.labels
    assert any(extraction.relations for extraction in found)
    for extraction in found:
        for triple in extraction.relations:
            assert triple.head in extraction.entities
            assert triple.tail in extraction.entities
            assert f"/{triple.head.type}/{triple.tail.type}/".lower() in "".join(labels)
            assert 0 < triple.probability <= 1


def test_relations_that_a_post_asks_about_are_all_answered(
    random_pair, posts, demo_data, tiny_bert
):
    data, method = demo_data("re", tiny_bert), load_method(random_pair["re"])
    instances = data.instances["test"]
    with torch.no_grad():
        expected = method(make_batch(data, instances))
    extractor = Extractor.from_checkpoint(random_pair["re"], device="cpu")
    asked = [instance.post for instance in instances]
    found = extractor.extract(asked)
    for prediction, extraction in zip(expected, found, strict=True):
        label = prediction.relations[0].label
        assert [triple.label for triple in extraction.relations] == (
            [] if label == "None" else [label]
        )
    ann, rome = Entity(0, 1, "PER"), Entity(2, 3, "LOC")
    post = Post(
        words=("Ann", "saw", "Rome"), relations=(Relation(ann, rome, ""), Relation(rome, ann, ""))
    )
    assert len(extractor.extract([post])[0].relations) <= 2


def test_a_relation_told_both_ways_goes_along_the_text_unless_the_other_way_is_far_more_probable():
    ann, bob = Mention("Ann", "PER", 0, 3, 1.0), Mention("Bob", "PER", 8, 11, 1.0)

    def kept(along, against):
        triples = [
            Triple(bob, "peer", ann, against),
            Triple(ann, "peer", bob, along),
            Triple(bob, "boss", ann, 0.9),
        ]
        peer, boss = sorted(
            _drop_weaker_directions(triples), key=lambda triple: triple.label, reverse=True
        )
        assert boss.label == "boss"
        return peer.head

    assert kept(0.98, 0.99) == kept(0.5, 0.99) == ann
    assert kept(0.3, 0.99) == bob


def test_a_cropper_stands_in_for_missing_crops(random_pair, posts):
    class Corners:
        def crops(self, picture, words):
            assert words
            return [picture.crop((0, 0, picture.width // 2, picture.height // 2))] * 5

    post = replace(next(post for post in posts if post.image is not None), crops=())
    bare = Extractor.from_checkpoint(random_pair["ner"], device="cpu").extract([post])[0]
    cropped = Extractor.from_checkpoint(
        random_pair["ner"], device="cpu", cropper=Corners()
    ).extract([post])[0]
    assert bare.entities != cropped.entities


def test_a_frame(ner, posts, demo_root):
    rows = [
        {"said": " ".join(post.words), "seen": str(post.image) if post.image else None}
        for post in posts
    ]
    rows[0]["said"] = float("nan")
    frame = pd.DataFrame(rows, index=[f"row {n}" for n in range(len(rows))])
    answered = ner.extract_frame(frame, text="said", image="seen")
    assert list(answered.index) == list(frame.index)
    assert "entities" not in frame.columns
    assert answered["problems"].iloc[0] == ["text: no words"]
    entity = next(entity for row in answered["entities"] for entity in row)
    assert set(entity) == {"text", "type", "start", "end", "probability"}
    with pytest.raises(PostError, match="no column 'text'"):
        ner.extract_frame(frame)
    named = frame.rename(columns={"said": "text", "seen": "image"})
    assert [to_json(found)["entities"] for found in ner.extract(named)] == list(
        answered["entities"]
    )


@pytest.mark.parametrize(
    ("post", "reason"),
    [
        ("Jordan lands", r"post 1: expected Post\(text=..., image=...\), found str"),
        ({"text": "Jordan lands"}, "post 1: .* found dict"),
        (None, "post 1: .* found NoneType"),
        (Post(text=5), "post 1: expected a text that is a string, found int"),
    ],
)
def test_what_is_no_post_is_named(post, reason, ner):
    with pytest.raises(PostError, match=reason):
        ner.extract([Post(text="Jordan lands"), post])


def test_what_is_no_picture_is_said(ner):
    posts = [
        Post(text="Jordan lands", image=image) for image in (5, io.BytesIO(b""), bytearray(b""))
    ]
    found = [extraction.problems for extraction in ner.extract(posts)]
    assert found == [(f"image: not a picture: {kind}",) for kind in ("int", "BytesIO", "bytearray")]


def test_the_package_gives_what_most_begin_with():
    assert (mmie.Extractor, mmie.load_pair, mmie.Post) == (Extractor, load_pair, Post)
    with pytest.raises(AttributeError, match="no attribute 'load_pairs'"):
        mmie.load_pairs  # noqa: B018


def test_what_is_refused(random_pair, save_checkpoint, tmp_path):
    with pytest.raises(CheckpointError, match="of the task ner: expected one of re"):
        load_pair(random_pair["ner"], random_pair["ner"], device="cpu")
    with pytest.raises(DeviceError, match="device 'cuda:7' is not there"):
        Extractor.from_checkpoint(random_pair["ner"], device="cuda:7")
    with pytest.raises(CheckpointError, match="does not exist"):
        Extractor.from_checkpoint(tmp_path / "none.ckpt")
    with pytest.raises(ValueError, match="for entities, one for relations, or both"):
        Extractor()
    path = save_checkpoint(MLNetPretraining, "ner", vision_backbone="test_vit", fusion_layers=1)
    with pytest.raises(PredictionUnsupported):
        Extractor.from_checkpoint(path, device="cpu").extract([Post(text="Jordan")])
