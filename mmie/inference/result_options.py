"""Options, beside the checkpoints, that decide what an extractor returns."""

from dataclasses import dataclass

from mmie.data.long_posts import LongPosts
from mmie.inference.relation_types import ANY


@dataclass(frozen=True, slots=True)
class ResultOptions:
    """Options of `mmie.inference.extractor.ExtractorOptions` on which results depend.

    Attributes:
        long: Treatment of posts that are longer than a method reads.
        min_probability: Least probability of entities and relations.
        min_relation_probability: Least probability of relations; None takes ``min_probability``.
        relation_types: ``any``, ``labels``, ``training``, or a JSON file of types by label.
    """

    long: LongPosts = "windows"
    min_probability: float = 0.0
    min_relation_probability: float | None = None
    relation_types: str = ANY
