"""Contexts that lie in a file beside a corpus: a JSON object of post ids and texts.

They serve corpora whose own layout has no place for them: captions or OCR of the published corpora's pictures.
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_warn

from mmie.data.corpora.base import Corpus, CorpusError, MalformedLine, cut, expand_user, unique_keys
from mmie.types import Post, Split

_SPLIT = "{split}"
_SHOWN = 5
"""Ids that a warning spells out."""


class ContextFile:
    """Contexts of a corpus's posts, in a file per split or in one for all.

    Args:
        path: The file; ``{split}`` in it is replaced by ``train``, ``valid`` or ``test``.
        corpus: The corpus.
    """

    def __init__(self, path: str, corpus: Corpus) -> None:
        self.path = path
        self.corpus = corpus

    def posts(self, split: Split) -> list[Post]:
        """The posts of a split; where the file names one, its context takes the place of the post's own.

        Raises:
            CorpusError: The file is missing or malformed, or does not say which split's post it means.
        """
        contexts = self._of_split(split) if _SPLIT in self.path else self._of_all
        return [
            replace(post, context=contexts.get(post.id, post.context))
            for post in self.corpus.posts(split)
        ]

    def _of_split(self, split: Split) -> dict[str, str]:
        """Contexts in the file of one split."""
        file = expand_user(self.path.replace(_SPLIT, split))
        contexts = read_contexts(file)
        ids = {post.id for post in self.corpus.posts(split)}
        _warn_of_unknown(file, (post for post in contexts if post not in ids))
        return contexts

    @cached_property
    def _of_all(self) -> dict[str, str]:
        """Contexts in the file of all splits."""
        file = expand_user(self.path)
        contexts = read_contexts(file)
        splits = Counter(
            post.id for split in self.corpus.splits for post in self.corpus.posts(split)
        )
        ambiguous = next((post for post in contexts if splits[post] > 1), None)
        if ambiguous is not None:
            raise CorpusError(
                f"{file}: post {cut(repr(ambiguous))} is in {splits[ambiguous]} splits of {self.corpus.name}: "
                f"write a file for each split, and {_SPLIT} in the path"
            )
        _warn_of_unknown(file, (post for post in contexts if not splits[post]))
        return contexts


def read_contexts(file: Path) -> dict[str, str]:
    """Contexts by post id.

    Raises:
        CorpusError: The file is missing, or is no JSON object of strings.
    """
    expected = f"{file}: expected a JSON object of post ids and contexts, found"
    try:
        contexts = json.loads(file.read_text(encoding="utf-8-sig"), object_pairs_hook=unique_keys)
    except OSError as error:
        raise CorpusError(f"{expected} no file that can be read ({error.strerror})") from None
    except MalformedLine as error:
        raise CorpusError(f"{file}: {error}") from None
    except (ValueError, RecursionError) as error:
        raise CorpusError(f"{expected} what is no JSON ({error})") from None
    if not isinstance(contexts, dict):
        raise CorpusError(f"{expected} a {type(contexts).__name__}")
    for post, context in contexts.items():
        if not isinstance(context, str):
            raise CorpusError(
                f"{expected} a {type(context).__name__} as the context of post {cut(repr(post))}"
            )
    return contexts


def _warn_of_unknown(file: Path, posts: Iterable[str]) -> None:
    """Say how many ids no post has, and the first few."""
    unknown = list(posts)
    if unknown:
        more = ", ..." if len(unknown) > _SHOWN else ""
        shown = ", ".join(cut(repr(post)) for post in unknown[:_SHOWN])
        rank_zero_warn(
            f"{file}: {len(unknown)} contexts are for posts that there are not: {shown}{more}"
        )
