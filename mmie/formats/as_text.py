"""Records with a text, for formats that count characters."""

from mmie.data.parsing import Record
from mmie.data.post_text import PostText
from mmie.data.words import split_words
from mmie.formats.cleaning import in_characters


def as_text(record: Record) -> Record:
    """Return a cleaned record with ``text``, in which spans count characters.

    It has its ``words`` beside the text only where the text would be split into others.
    """
    counted = in_characters(record)
    words = PostText.from_record(record).words
    without = {key: value for key, value in counted.items() if key != "words"}
    if [word for word, _, _ in split_words(str(counted["text"]))] == list(words):
        return without
    return {**without, "words": list(words)}
