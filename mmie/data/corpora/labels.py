"""Labels of a corpus, held against those that a model was taught on another one."""

from collections.abc import Sequence

from mmie.data.batching import Instance
from mmie.data.corpora.base import Corpus, CorpusError
from mmie.types import NO_RELATION, Task


def labels_of(corpus: Corpus, task: Task) -> tuple[str, ...]:
    """Entity types or relation labels of a corpus."""
    return corpus.entity_types if task == "ner" else corpus.relation_labels


def check_labels(corpus: Corpus, task: Task, known: Sequence[str]) -> None:
    """Refuse a corpus whose labels neither hold all that the model knows nor are all known to it.

    Where each side has labels of its own, the same things most likely go by other names, and no score would mean much.

    Raises:
        CorpusError: It is one.
    """
    taught, used = ({*names} - {NO_RELATION} for names in (known, labels_of(corpus, task)))
    if not (taught <= used or used <= taught):
        raise CorpusError(
            f"the model was trained with labels {', '.join(sorted(taught))}; {corpus.name} has "
            f"{', '.join(sorted(used))}: one side must hold all of the other's"
        )


def count_unknown(
    instances: Sequence[Instance], task: Task, known: Sequence[str]
) -> dict[str, int]:
    """Gold entities or relations of labels that the model does not know, by label."""
    counts: dict[str, int] = {}
    for instance in instances:
        gold = instance.post.entities if task == "ner" else ()
        found = (
            [entity.type for entity in gold]
            if instance.relation is None
            else [instance.relation.label]
        )
        for label in found:
            if label not in known:
                counts[label] = counts.get(label, 0) + 1
    return dict(sorted(counts.items()))
