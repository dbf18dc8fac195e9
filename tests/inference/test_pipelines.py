"""The callable over one post or many."""

import io

import pandas as pd
import pytest
from PIL import Image

import mmie
from mmie.checkpoints import CheckpointError
from mmie.inference import Extractor
from mmie.inference.pipelines import to_post
from mmie.inference.reading import PostError
from mmie.runs.folder import RunFolderError
from mmie.types import Entity, Post, Relation

TEXT = "Jordan lands in Phoenix"
ENTITIES = [{"start": 0, "end": 6, "type": "PER"}, {"start": 16, "end": 23, "type": "LOC"}]


@pytest.fixture(scope="module")
def find(random_pair) -> "mmie.inference.Pipeline":
    """A pipeline for entities."""
    return mmie.pipeline("ner", random_pair["ner"], device="cpu")


@pytest.fixture(scope="module")
def scene(demo_root):
    """Path of a picture."""
    return next((demo_root / "images").iterdir())


def probabilities(extraction):
    """Return the probabilities of entities by their characters and types."""
    return {(item.start, item.end, item.type): item.probability for item in extraction.entities}


def test_one_post_gives_one_extraction_and_a_list_a_list(find, random_pair, scene):
    post = Post(text=TEXT, image=scene)
    (expected,) = Extractor.from_checkpoint(random_pair["ner"], device="cpu").extract([post])
    assert expected.entities
    assert find({"text": TEXT, "image": scene}) == find(post) == expected
    assert find([post]) == find(({"text": TEXT, "image": scene},)) == [expected]


def test_pictures_have_the_forms_of_a_post(find, scene):
    picture = Image.open(scene).convert("RGB")
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    forms = [scene, str(scene), scene.read_bytes(), picture, stream.getvalue()]
    results = find([{"text": TEXT, "image": form} for form in forms])
    assert [result.problems for result in results] == [()] * 5
    for result in results:
        assert probabilities(result) == pytest.approx(probabilities(results[0]), rel=1e-4)
    assert probabilities(find(TEXT)) != pytest.approx(probabilities(results[0]), rel=1e-4)


def test_other_iterables_are_read_lazily(find):
    taken = []

    def posts():
        for number in range(10_000):
            taken.append(number)
            yield f"Jordan lands {number}"

    assert next(find(posts())).id == "0"
    assert len(taken) < 2_000


def test_a_frame_is_read_by_its_columns(find, scene):
    frame = pd.DataFrame({"text": [TEXT], "image": [str(scene)]}, index=["a"])
    (result,) = find(frame)
    assert result == find({"id": "a", "text": TEXT, "image": scene})


def test_a_text_without_words_is_named_in_problems(find):
    assert find("").problems == find({"text": " "}).problems == ("text: no words",)


def test_relations_are_those_of_the_entities_of_a_post(random_pair, scene):
    relate = mmie.pipeline("re", random_pair["re"], device="cpu")
    post = {"text": TEXT, "image": scene, "entities": ENTITIES}
    result = relate(post)
    assert [mention.text for mention in result.entities] == ["Jordan", "Phoenix"]
    given = to_post(post, 0)
    assert given.entities == (Entity(0, 1, "PER"), Entity(3, 4, "LOC"))
    extractor = Extractor.from_checkpoint(random_pair["re"], device="cpu")
    assert [result] == extractor.extract([given])


def test_all_keys_become_a_post():
    relations = [{"head": ENTITIES[0], "tail": ENTITIES[1], "label": "at"}]
    ann, rome = Entity(0, 1, "PER"), Entity(3, 4, "LOC")
    post = to_post(
        {"id": 5, "text": TEXT, "context": "a jet", "entities": ENTITIES, "relations": relations}, 0
    )
    assert (post.id, post.context, post.text) == ("5", "a jet", TEXT)
    assert post.relations == (Relation(ann, rome, "at"),)
    assert to_post({"words": ["Ann"], "crops": ["a.jpg"]}, 3).crops == ("a.jpg",)


@pytest.mark.parametrize(
    ("item", "found"),
    [
        (5, "post 4: expected a text, a dictionary or a Post, found int"),
        ({"txt": "x"}, "post 4: unknown key 'txt': expected some of id, text"),
        ({"text": "x", "entities": [{"start": 0, "end": 9, "type": "PER"}]}, "post 4: .*end 9"),
        ({"words": ["a", ""]}, "post 4: .*words that are not empty"),
    ],
)
def test_what_is_no_post_is_named(item, found):
    with pytest.raises(PostError, match=found):
        to_post(item, 4)


@pytest.mark.slow
def test_a_run_folder_stands_for_its_best_checkpoint(fitted_run):
    by_folder = mmie.pipeline("ner", str(fitted_run), device="cpu")(TEXT)
    assert by_folder == mmie.pipeline("ner", fitted_run / "best.ckpt", device="cpu")(TEXT)
    (fitted_run / "best.ckpt").unlink()
    with pytest.raises(RunFolderError, match=r"holds no best\.ckpt"):
        mmie.pipeline("ner", fitted_run)


def test_a_wrong_task_or_model_is_refused(random_pair, tmp_path):
    with pytest.raises(CheckpointError, match="task is 'nre': expected one of ner, re"):
        mmie.pipeline("nre", random_pair["ner"])
    with pytest.raises(CheckpointError, match="is of the task ner: expected one of re"):
        mmie.pipeline("re", random_pair["ner"])
    with pytest.raises(CheckpointError, match="none"):
        mmie.pipeline("ner", tmp_path / "none")


def test_several_pictures_come_in_their_order_and_count_once(scene):
    picture = Image.open(scene)
    images = [scene, str(scene), picture, b"x", picture]
    post = to_post({"text": TEXT, "image": picture, "images": images}, 0)
    assert post.images == (picture, scene, b"x")
    assert to_post({"text": TEXT, "images": ["a", "b"], "entities": ENTITIES}, 0).images == (
        "a",
        "b",
    )
    assert to_post({"text": TEXT, "image": None, "images": None}, 0).images == ()
