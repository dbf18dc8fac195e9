"""DocBins of this package and of spaCy."""

import pytest
from helpers.labelled import EMOJI, FOUND, write_and_read

from mmie.data.sources import BadPost
from mmie.formats.base import FormatError, Notes, ReadOptions
from mmie.formats.docbin import DocBins

spacy = pytest.importorskip("spacy", reason="needs spaCy: mmie[spacy]")


def test_spacy_reads_tokens_and_entities(tmp_path):
    file = tmp_path / "train.spacy"
    write_and_read(DocBins(), [EMOJI, FOUND], file)
    vocab = spacy.blank("en").vocab
    emoji, found = spacy.tokens.DocBin().from_disk(file).get_docs(vocab)
    assert emoji.text == EMOJI["text"]
    assert "Rome" in [
        token.text for token in emoji
    ]  # '#Rome' is one word unless an entity splits it
    assert [(ent.text, ent.label_) for ent in emoji.ents] == [("Ann", "PER"), ("Rome", "LOC")]
    assert [token.text for token in found] == ["Ann", "met", "Bob"]


def test_documents_of_spacy(tmp_path):
    nlp = spacy.blank("en")
    document = nlp("Ann isn't  in Rome")
    document.ents = [document.char_span(14, 18, label="LOC")]
    document.spans["sc"] = [document[0:1]]
    document.user_data["other"] = 1
    file = tmp_path / "docs.spacy"
    spacy.tokens.DocBin(docs=[document, nlp("Bob")], store_user_data=True).to_disk(file)
    notes = Notes()
    first, second = DocBins().read(file, ReadOptions(), notes)
    assert first["words"] == ["Ann", "is", "n't", "in", "Rome"]
    assert first["text"] == "Ann isn't  in Rome"
    assert first["entities"] == [{"start": 14, "end": 18, "type": "LOC"}]
    assert second == {"id": "2", "text": "Bob", "entities": []}


def test_other_files_and_user_data_are_refused(tmp_path):
    file = tmp_path / "docs.spacy"
    file.write_bytes(b"no DocBin")
    with pytest.raises(FormatError, match=r"docs\.spacy: expected a DocBin of spaCy"):
        list(DocBins().read(file, ReadOptions(), Notes()))
    document = spacy.blank("en")("Ann")
    document.user_data["mmie"] = "{"
    spacy.tokens.DocBin(docs=[document], store_user_data=True).to_disk(file)
    (bad,) = DocBins().read(file, ReadOptions(), Notes())
    assert isinstance(bad, BadPost)


def test_files_are_recognised_by_their_name(tmp_path):
    file = tmp_path / "docs.SPACY"
    assert not DocBins().recognises(file, "")
    file.touch()
    assert DocBins().recognises(file, "")
