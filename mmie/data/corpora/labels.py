"""Labels of a corpus in comparison with those that a model was trained with."""

from collections import Counter
from collections.abc import Iterable, Sequence

from mmie.data.corpora.base import Corpus, CorpusError
from mmie.data.instances import Instance
from mmie.types import NO_RELATION, Post, Task


def labels_of(corpus: Corpus, task: Task) -> tuple[str, ...]:
    """Return the entity types or relation labels of a corpus."""
    return corpus.entity_types if task == "ner" else corpus.relation_labels


def check_labels(corpus: Corpus, task: Task, known: Sequence[str]) -> None:
    """Raise if both the corpus and the model have labels that the other one lacks.

    In that case the same things most likely have different names, and no score would mean much.

    Args:
        corpus: The corpus.
        task: ``ner`` or ``re``.
        known: Labels of the model.

    Raises:
        CorpusError: Neither side has all labels of the other, ``None`` left out.
    """
    trained = set(known) - {NO_RELATION}
    used = set(labels_of(corpus, task)) - {NO_RELATION}
    if not (trained <= used or used <= trained):
        raise CorpusError(
            f"the model was trained with labels {', '.join(sorted(trained))}; {corpus.name} has "
            f"{', '.join(sorted(used))}: one side must hold all of the other's"
        )


def types_of_relations(posts: Iterable[Post]) -> dict[str, list[tuple[str, str]]]:
    """Collect the types of head and tail between which the relations of posts stand.

    Args:
        posts: The posts. Relations whose head or tail has no type are left out.

    Returns:
        Sorted pairs of types by label, without those of ``None``.
    """
    types: dict[str, set[tuple[str, str]]] = {}
    for post in posts:
        for relation in post.relations:
            pair = (relation.head.type, relation.tail.type)
            if relation.label != NO_RELATION and all(pair):
                types.setdefault(relation.label, set()).add(pair)
    return {label: sorted(types[label]) for label in sorted(types)}


def count_unknown(
    instances: Sequence[Instance], task: Task, known: Sequence[str]
) -> dict[str, int]:
    """Count gold entities or relations whose labels the model lacks, by label.

    Args:
        instances: The instances.
        task: ``ner`` or ``re``.
        known: Labels of the model.
    """
    counts: Counter[str] = Counter()
    for instance in instances:
        if instance.relation is not None:
            counts[instance.relation.label] += 1
        elif task == "ner":
            counts.update(entity.type for entity in instance.post.entities)
    return {label: counts[label] for label in sorted(counts) if label not in known}
