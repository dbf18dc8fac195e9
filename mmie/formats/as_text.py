"""Records with a text, for formats that count characters."""

from mmie.data.parsing import Record
from mmie.data.post_text import PostText
from mmie.data.words import split_words
from mmie.formats.cleaning import in_characters
from mmie.formats.records import without_keys


def as_text(record: Record) -> Record:
    """Return a cleaned record with ``text``, in which spans count characters.

    It has its ``words`` beside the text only where the text would be split into others.
    """
    counted = without_keys(in_characters(record), "words")
    words = list(PostText.from_record(record).words)
    if [word for word, _, _ in split_words(str(counted["text"]))] != words:
        counted["words"] = words
    return counted
