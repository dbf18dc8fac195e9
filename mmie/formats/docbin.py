"""Documents of spaCy in a binary file (``DocBin``), as ``spacy train`` reads them.

Tokens are the words of the post, with their spaces; entities are those of the documents. All that a
document of spaCy has no place for (id, picture, crops, context, relations, probabilities, further
keys) lies as JSON under ``mmie`` in the user data of each document, and is read again from there.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mmie.data.parsing import MalformedLine, Record, list_value
from mmie.data.post_json import parse_record
from mmie.data.post_text import PostText
from mmie.data.sources import BadPost
from mmie.formats.as_text import as_text
from mmie.formats.base import Format, FormatError, Notes, ReadOptions
from mmie.formats.records import Item, list_objects, without_keys
from mmie.formats.texts import read_bytes
from mmie.utils.files import atomic_write
from mmie.utils.optional import require

_USER_DATA = "mmie"


class DocBins(Format):
    """Binary files of spaCy's documents."""

    name = "docbin"
    description = "spaCy's DocBin (.spacy): tokens and entities"
    suffixes = (".spacy",)

    def recognises(self, path: Path, head: str) -> bool:
        """Tell whether the file is named as spaCy names them."""
        return path.is_file() and path.suffix.lower() in self.suffixes

    def read(self, path: Path, options: ReadOptions, notes: Notes) -> Iterator[Record | BadPost]:
        """Yield a record for each document.

        Raises:
            FormatError: The file cannot be read, or is no DocBin.
            MissingPackageError: spaCy is not installed.
        """
        tokens, vocab = require("spacy.tokens", "spacy"), require("spacy.vocab", "spacy")
        content = read_bytes(path)
        try:
            documents = list(tokens.DocBin().from_bytes(content).get_docs(vocab.Vocab()))
        except Exception as error:  # spaCy raises almost anything on other files
            raise FormatError(
                f"{path}: expected a DocBin of spaCy, found {type(error).__name__}"
            ) from None
        for number, document in enumerate(documents, start=1):
            try:
                yield _read_document(document, number, notes)
            except MalformedLine as error:
                yield BadPost.of(f"document {number}", error)

    def write(self, records: Iterable[Record], path: Path, notes: Notes) -> None:
        """Write a document for each record.

        Raises:
            MissingPackageError: spaCy is not installed.
        """
        tokens, vocab = require("spacy.tokens", "spacy"), require("spacy.vocab", "spacy")
        shared = vocab.Vocab()
        documents = tokens.DocBin(store_user_data=True)
        for record in records:
            documents.add(_to_document(as_text(record), shared))
        content = documents.to_bytes()
        atomic_write(path, lambda partial: partial.write_bytes(content))


def _read_document(document: Any, number: int, notes: Notes) -> Record:
    """Convert a document to a record.

    Raises:
        MalformedLine: The user data of this package are not what it writes.
    """
    user_data = document.user_data.get(_USER_DATA)
    kept: Record = {"id": str(number)}
    if isinstance(user_data, str):
        kept = parse_record(user_data)
    if len(document.spans):
        notes.unused["groups of spans"] += len(document.spans)
    other = len(document.user_data) - (user_data is not None)
    if other:
        notes.unused["user data"] += other
    probabilities = {}
    for start, end, probability in list_value(kept, "probabilities", list, "lists"):
        probabilities[start, end] = {"probability": probability}
    entities: list[Item] = []
    for entity in document.ents:
        start, end = entity.start_char, entity.end_char
        probability = probabilities.get((start, end), {})
        entities.append({"start": start, "end": end, "type": entity.label_, **probability})
    words = [token.text for token in document if not token.text.isspace()]
    text = document.text
    record = as_text({"text": text, "words": words}) if words else {"text": text}
    return {**without_keys(kept, "probabilities"), **record, "entities": entities}


def _to_document(record: Record, vocab: Any) -> Any:
    """Convert a record with a text to a document."""
    tokens, util = require("spacy.tokens", "spacy"), require("spacy.util", "spacy")
    parsed = PostText.from_record(record)
    words, spaces = util.get_words_and_spaces(list(parsed.words), record["text"])
    document = tokens.Doc(vocab, words=words, spaces=spaces)
    spans = []
    probabilities = []
    for item in list_objects(record, "entities"):
        start, end = item["start"], item["end"]
        spans.append(document.char_span(start, end, label=item["type"]))
        if "probability" in item:
            probabilities.append([start, end, item["probability"]])
    document.ents = spans
    kept = without_keys(record, "text", "words", "entities")
    if probabilities:
        kept["probabilities"] = probabilities
    document.user_data[_USER_DATA] = json.dumps(kept)
    return document
