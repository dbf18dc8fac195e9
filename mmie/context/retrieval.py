"""Similar training posts with their gold labels as the context of a post.

Sources: Wang et al., "Named Entity and Relation Extraction with Multi-Modal Retrieval", Findings of
EMNLP 2022 (MoRe), which retrieves texts; Li et al., "Prompting ChatGPT in MNER: Enhanced Multimodal
Named Entity Recognition with Auxiliary Refined Knowledge", Findings of EMNLP 2023 (PGIM), which
selects similar training posts with their labels as examples.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mmie.context.search import TextSearch
from mmie.context.templates import check_template, fill_template
from mmie.context.training_texts import (
    PictureKeys,
    TrainingText,
    merge_texts,
    original_ids,
    text_key,
)
from mmie.types import Post, Split

TEMPLATE = "{text} {labels}"
"""Default template of a retrieved text."""
TEMPLATE_GAPS = ("text", "labels")


@dataclass(frozen=True, slots=True)
class RetrievalOptions:
    """Form of the contexts.

    Attributes:
        k: Most retrieved texts of a post.
        max_words: Most words of a context. Texts are left out whole where they do not fit; the
            first one is cut.
        template: Form of a retrieved text, with the gaps of `TEMPLATE_GAPS`.

    Raises:
        ContextError: The template has no gap or an unknown one.
    """

    k: int = 3
    max_words: int = 100
    template: str = TEMPLATE

    def __post_init__(self) -> None:
        check_template(self.template, TEMPLATE_GAPS)


class Retriever:
    """Search in the labelled training posts that never returns a post's own labels.

    A text is not returned for a post of any split that has the same text or one of the same
    pictures, nor for a training post with the same id.

    Args:
        labelled: Training posts with the labels to return.
        posts: Posts by split that contexts are made for.
        build_search: Builds the search of a sequence of texts.
    """

    def __init__(
        self,
        labelled: Sequence[Post],
        posts: Mapping[Split, Sequence[Post]],
        build_search: Callable[[Sequence[str]], TextSearch],
    ) -> None:
        self._posts = posts
        all_posts = [post for split_posts in posts.values() for post in split_posts]
        self._pictures = PictureKeys([*labelled, *all_posts])
        self._originals = original_ids([*labelled, *posts.get("train", ())])
        merged = merge_texts(labelled, self._pictures)
        self._keys = list(merged)
        self.texts = list(merged.values())
        self.search = build_search([entry.text for entry in self.texts])
        self._rows = _rows_by_trait(self.texts, self._keys, self._originals)

    def contexts(self, split: Split, options: RetrievalOptions) -> dict[str, str]:
        """Return the contexts of a split's posts by id, without posts that nothing is found for."""
        contexts: dict[str, str] = {}
        posts = self._posts[split]
        for post, neighbours in zip(posts, self.neighbours(split, options.k), strict=True):
            if neighbours:
                contexts[post.id] = compose_context(neighbours, options)
        return contexts

    def neighbours(self, split: Split, k: int) -> Iterator[list[TrainingText]]:
        """Yield the most similar texts for each post of a split, at most ``k``, best first."""
        posts = self._posts[split]
        queries = [" ".join(post.words) for post in posts]
        for post, scores in zip(posts, self.search.scores(queries), strict=True):
            scores = scores.copy()  # (texts,)
            scores[self._barred_rows(post, split)] = -np.inf
            best = np.argsort(-scores, kind="stable")[:k]  # (k,), the first of equals first
            yield [self.texts[row] for row in best if np.isfinite(scores[row])]

    def _barred_rows(self, post: Post, split: Split) -> list[int]:
        """Return the rows of texts that must not be returned for a post."""
        traits = [("text", text_key(post))]
        traits += [("picture", key) for key in self._pictures.of(post)]
        if split == "train":
            traits.append(("id", self._originals[post.id]))
        return [row for trait in traits for row in self._rows.get(trait, ())]


def compose_context(texts: Sequence[TrainingText], options: RetrievalOptions) -> str:
    """Join retrieved texts, in order, to a context of at most ``options.max_words`` words."""
    words: list[str] = []
    for entry in texts:
        values = {"text": entry.text, "labels": " ".join(entry.labels)}
        added = fill_template(options.template, values).split()
        if words and len(words) + len(added) > options.max_words:
            break
        words += added[: options.max_words]
    return " ".join(words)


def _rows_by_trait(
    texts: Sequence[TrainingText], keys: Sequence[str], originals: Mapping[str, str]
) -> dict[tuple[str, str], list[int]]:
    """Map what a post and a text may have in common to the rows of the texts."""
    rows: dict[tuple[str, str], list[int]] = {}
    for row, (entry, key) in enumerate(zip(texts, keys, strict=True)):
        traits = {("text", key)}
        traits |= {("picture", picture) for picture in entry.pictures}
        traits |= {("id", originals[name]) for name in entry.ids}
        for trait in traits:
            rows.setdefault(trait, []).append(row)
    return rows
