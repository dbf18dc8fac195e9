"""Gold labels as English sentences that an encoder can read."""

from mmie.types import NO_RELATION, Entity, Post

_TYPE_NAMES = {
    "PER": "a person",
    "LOC": "a location",
    "ORG": "an organization",
    "MISC": "a miscellaneous name",
}
"""Entity types of the published corpora in words."""


def label_sentences(post: Post) -> list[str]:
    """Describe the entities and relations of a post, a sentence each.

    Entities without a type are left out.

    >>> post = Post(words=("Jordan", "lands"), entities=(Entity(0, 1, "PER"),))
    >>> label_sentences(post)
    ['Jordan is a person.']
    """
    sentences: list[str] = []
    for entity in post.entities:
        if entity.type:
            sentences.append(f"{_span_text(post, entity)} is {type_in_words(entity.type)}.")
    for relation in post.relations:
        head, tail = _span_text(post, relation.head), _span_text(post, relation.tail)
        label = relation_in_words(relation.label)
        sentences.append(f"The relation of {head} to {tail} is {label}.")
    return sentences


def type_in_words(type: str) -> str:
    """Return an entity type as a noun with its article.

    >>> type_in_words("PER"), type_in_words("art-work"), type_in_words("Product")
    ('a person', 'an art work', 'a product')
    """
    if type in _TYPE_NAMES:
        return _TYPE_NAMES[type]
    name = _split_name(type).lower()
    article = "an" if name[:1] in set("aeiou") else "a"
    return f"{article} {name}"


def relation_in_words(label: str) -> str:
    """Return a relation label in words, without the types in front of it.

    >>> relation_in_words("/per/loc/place_of_residence"), relation_in_words("None")
    ('place of residence', 'none')
    """
    if label == NO_RELATION:
        return "none"
    return _split_name(label.rstrip("/").rpartition("/")[2])


def _span_text(post: Post, entity: Entity) -> str:
    """Return the words of an entity."""
    return " ".join(post.words[entity.start : entity.end])


def _split_name(name: str) -> str:
    """Put blanks between the words of a label's name."""
    return " ".join(name.replace("_", " ").replace("-", " ").split())
