"""What a method's paper says of it: the one place that the tables of methods and the comparisons read."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from mmie.types import Task


@dataclass(frozen=True, slots=True)
class Published:
    """Scores that a paper reports on a test split, in percent; None where it gives none."""

    f1: float
    precision: float | None = None
    recall: float | None = None


@dataclass(frozen=True, slots=True)
class Paper:
    """A method's source.

    Attributes:
        citation: Authors, venue and year.
        url: Where to read it.
        tasks: Tasks that it reports.
        summary: The method in a few words.
        scores: Reported scores by corpus name (``twitter2015``, ``twitter2017``, ``mnre``).
    """

    citation: str
    url: str
    tasks: tuple[Task, ...]
    summary: str
    scores: Mapping[str, Published] = field(default_factory=dict)
