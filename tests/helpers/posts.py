"""Posts of a few words, with the tokenizer and the schema for them."""

from pathlib import Path

from mmie.data.demo.tiny_encoders import write_tiny_bert
from mmie.data.encoding import WordTokenizer
from mmie.types import Entity, Post, Schema

WORDS = ("Jordan", "\ufe0f", "talks", "about", "the", "newsroom", "of", "Washington")
LONG = "a" * 40
PERSON, PLACE = Entity(0, 2, "PER"), Entity(7, 8, "LOC")
DESCRIBED = [
    Post("x", WORDS, context="the newsroom", entities=(PERSON, PLACE)),
    Post("y", ("Jordan",), entities=(Entity(0, 1, "ORG"),)),
]
"""Two posts, the first with a context."""


def write_tokenizer(folder: Path) -> WordTokenizer:
    """Write a tiny encoder that covers `WORDS` and `LONG`, and load its tokenizer."""
    write_tiny_bert(folder, [" ".join(WORDS), LONG])
    return WordTokenizer.from_source(folder, 32)


def make_schema(tokenizer: WordTokenizer, task: str = "ner", **changes: object) -> Schema:
    """A schema with three labels, two crops and small views."""
    labels = ("LOC", "ORG", "PER") if task == "ner" else ("None", "lives", "works")
    settings = {"max_tokens": tokenizer.max_tokens, "num_objects": 2, "image_size": 16, **changes}
    return Schema(task, labels, tokenizer.vocab_size, **settings)
