"""Text-only bounds of a demo corpus.

Posts that the picture decides come in groups of four with the same words and four different
labels: see `mmie.data.demo.posts`. Hence the best F1 that any function of the words alone can reach
is known exactly. With a share t of text-decided gold items (entities or relations), such a function
gets those right, and either leaves the others out or gets one in four of them right:

    F1 = max(2t / (1 + t), t + (1 - t) / 4)

F1 is monotonic in the number of items that are left out, so nothing in between is better. Words and
picture together reach 1.

With ``context`` a caption takes the picture's place (`mmie.data.demo.contexts`). The bounds are the
same, words and context together reach 1, and words and picture no more than the words.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from rich.table import Table

from mmie.data.corpora.base import CorpusError
from mmie.data.demo.posts import GROUP, Draft
from mmie.types import Split, Task
from mmie.utils.wording import format_score

BOUNDS_FILE = "bounds.json"
"""Name of the file of bounds in the folder of a demo corpus."""
_LAYOUT = "mmie demo corpus"


@dataclass(frozen=True, slots=True)
class TextBound:
    """Best score that the words alone can reach on one task and split.

    Attributes:
        task: The task.
        split: The split.
        decided: Number of gold entities, or of relations but ``None``, that the text decides.
        undecided: Number of those that only the picture decides, or the context in the variant
            with contexts.
    """

    task: Task
    split: Split
    decided: int
    undecided: int

    @property
    def score(self) -> float:
        """Best micro F1 that any function of the words can reach."""
        share = self.decided / (self.decided + self.undecided)
        return max(2 * share / (1 + share), share + (1 - share) / GROUP)


@dataclass(frozen=True, slots=True)
class DemoBounds:
    """Settings of a demo corpus and its text-only bounds.

    Attributes:
        seed: Seed that it was drawn with.
        noise: Share of posts with an unrelated picture, as requested.
        size: Height and width of its pictures in pixels.
        bounds: One bound per task and split.
        context: Whether contexts decide in place of pictures.
    """

    seed: int
    noise: float
    size: int
    bounds: tuple[TextBound, ...]
    context: bool = False

    def score(self, task: Task, split: Split = "test") -> float:
        """Return the best micro F1 that any function of the words can reach on a split."""
        scores = {(bound.task, bound.split): bound.score for bound in self.bounds}
        return scores[task, split]

    def write(self, file: Path) -> None:
        """Write as JSON, with the scores for readers of the file.

        Raises:
            OSError: The file cannot be written.
        """
        bounds = [{**asdict(bound), "score": bound.score} for bound in self.bounds]
        record = {"layout": _LAYOUT, **asdict(self), "bounds": bounds}
        if not self.context:
            del record["context"]
        file.write_text(json.dumps(record, indent=2) + "\n")

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read the file that `write` wrote.

        Raises:
            CorpusError: The file does not exist or is not one of a demo corpus.
        """
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
            if record["layout"] != _LAYOUT:
                raise ValueError("another layout")
            bounds: list[TextBound] = []
            for bound in record["bounds"]:
                counts = bound["decided"], bound["undecided"]
                bounds.append(TextBound(bound["task"], bound["split"], *counts))
            context = bool(record.get("context"))
            return cls(record["seed"], record["noise"], record["size"], tuple(bounds), context)
        except (OSError, ValueError, KeyError, TypeError):
            raise CorpusError(
                f"{file.parent} is no demo corpus: expected a {file.name} as `mmie corpus demo` "
                "writes it; name another folder"
            ) from None


def text_bounds(split: Split, drafts: Sequence[Draft]) -> list[TextBound]:
    """Compute the bounds of both tasks on one split."""
    by_text = sum(draft.is_text_decided for draft in drafts)
    related_by_text = sum(draft.is_text_decided and draft.related for draft in drafts)
    by_picture = len(drafts) - by_text
    return [
        TextBound("ner", split, 2 * by_text, 2 * by_picture),
        TextBound("re", split, related_by_text, by_picture),
    ]


def render_bounds(bounds: DemoBounds) -> Table:
    """Render the bounds of each task and split as a table."""
    table = Table(title=f"Demo corpus, seed {bounds.seed}: best possible F1 in percent")
    table.add_column("task")
    table.add_column("split")
    decider = "context" if bounds.context else "picture"
    for heading in ("gold", "text decides", "text only", f"text and {decider}"):
        table.add_column(heading, justify="right")
    for bound in bounds.bounds:
        gold = str(bound.decided + bound.undecided)
        scores = (format_score(bound.score), format_score(1.0))
        table.add_row(bound.task, bound.split, gold, str(bound.decided), *scores)
    return table
