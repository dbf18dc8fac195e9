"""The component ``mmie`` in a blank pipeline of spaCy."""

import tomllib
import warnings
from importlib.metadata import EntryPoint

import pytest
from helpers.paths import REPOSITORY

from mmie.checkpoints import CheckpointError
from mmie.export.pretrained import save_pretrained
from mmie.inference import Extractor
from mmie.inference.spacy_component import EntityComponent, build_component
from mmie.types import Extraction, Mention, Post

spacy = pytest.importorskip("spacy", reason="needs spaCy: mmie[spacy]")

TEXT = "Jordan lands in Phoenix tonight"


@pytest.fixture(scope="module")
def scene(demo_root):
    """Path of a picture."""
    return next((demo_root / "images").iterdir())


@pytest.fixture(scope="module")
def nlp(random_pair):
    """A blank pipeline with the component."""
    nlp = spacy.blank("en")
    nlp.add_pipe("mmie", config={"model": str(random_pair["ner"]), "device": "cpu"})
    return nlp


def found(doc):
    """Return characters, types and probabilities of the entities of a document."""
    return [
        (ent.start_char, ent.end_char, ent.label_, pytest.approx(ent._.probability))
        for ent in doc.ents
    ]


def expected(extraction: Extraction):
    """Return the same of an extraction."""
    return [(item.start, item.end, item.type, item.probability) for item in extraction.entities]


def test_entities_are_those_of_the_extractor(nlp, random_pair, scene):
    extractor = Extractor.from_checkpoint(random_pair["ner"], device="cpu")
    plain, pictured = extractor.extract([Post(text=TEXT), Post(text=TEXT, image=scene)])
    assert expected(plain) != expected(pictured) != []
    assert found(nlp(TEXT)) == expected(plain)
    doc = nlp.make_doc(TEXT)
    doc._.image = str(scene)
    assert found(nlp(doc)) == expected(pictured)


def test_documents_are_read_in_batches_and_in_order(nlp):
    texts = [f"Jordan lands in Phoenix {number}" for number in range(7)]
    docs = list(nlp.pipe(texts, batch_size=3))
    assert [doc.text for doc in docs] == texts
    assert [found(doc) for doc in docs] == [found(nlp(text)) for text in texts]


def test_an_unreadable_picture_is_a_warning(nlp, tmp_path):
    doc = nlp.make_doc(TEXT)
    doc._.image = tmp_path / "none.jpg"
    with pytest.warns(UserWarning, match=r"'Jordan lands in Phoenix tonight': image: missing"):
        assert found(nlp(doc)) == found(nlp(TEXT))


class RecordingExtractor:
    """Extractor that keeps the posts and finds nothing."""

    def extract(self, posts):
        self.posts = posts
        return [Extraction("0", post.text, ()) for post in posts]


def test_several_pictures(nlp):
    first, second = nlp.make_doc(TEXT), nlp.make_doc(TEXT)
    first._.image, first._.images = "1.jpg", ["2.jpg", b"3"]
    second._.images = ["1.jpg"]
    extractor = RecordingExtractor()
    list(EntityComponent(extractor).pipe([first, second, nlp.make_doc(TEXT)]))
    assert [post.images for post in extractor.posts] == [("1.jpg", "2.jpg", b"3"), ("1.jpg",), ()]


class FixedExtractor:
    """Extractor that finds the same mentions in every post."""

    def __init__(self, *mentions):
        self.mentions = mentions

    def extract(self, posts):
        return [Extraction("0", post.text, (), self.mentions) for post in posts]


def test_a_span_within_a_token_is_extended_and_shares_no_token(nlp):
    uncertain, certain = Mention("A", "PER", 4, 5, 0.4), Mention("nn", "LOC", 5, 7, 0.9)
    component = EntityComponent(FixedExtractor(uncertain, certain))
    (ent,) = component(nlp.make_doc("see Annabel now")).ents
    assert (ent.text, ent.label_, ent._.probability) == ("Annabel", "LOC", 0.9)


def test_an_exported_folder_is_a_model(random_pair, nlp, tmp_path):
    save_pretrained(random_pair["ner"], tmp_path / "exported")
    other = spacy.blank("en")
    other.add_pipe("mmie", config={"model": str(tmp_path / "exported"), "device": "cpu"})
    assert found(other(TEXT)) == found(nlp(TEXT))


def test_a_method_for_relations_is_refused(random_pair):
    with pytest.raises(CheckpointError, match="is of the task re: expected one of ner"):
        build_component(None, "mmie", str(random_pair["re"]))


def test_the_entry_point_names_the_component():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    (entry,) = project["entry-points"]["spacy_factories"].items()
    point = EntryPoint(*entry, group="spacy_factories")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert point.load() is build_component
    assert spacy.Language.has_factory(point.name)
