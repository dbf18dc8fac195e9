"""Contexts in a file beside a corpus: a JSON object of post ids and texts.

They serve corpora whose own layout has no place for contexts: captions or OCR of the published
corpora's pictures.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from mmie.data.corpora.base import Corpus, CorpusError
from mmie.data.parsing import MalformedLine, expand_user, unique_keys
from mmie.types import Post, Split
from mmie.utils.text import truncate

_SPLIT = "{split}"
_MAX_LISTED = 5
"""Ids that a warning lists."""


class ContextFile:
    """Contexts of a corpus's posts, in a file per split or in one file for all.

    Args:
        path: The file. ``{split}`` in it is replaced by ``train``, ``valid`` or ``test``.
        corpus: The corpus.
    """

    def __init__(self, path: str, corpus: Corpus) -> None:
        self.path = path
        self.corpus = corpus

    def posts(self, split: Split) -> list[Post]:
        """Return the posts of a split with the contexts of the file in place of their own.

        Posts that the file does not name keep their own context.

        Raises:
            CorpusError: The file is missing or malformed, or names an id that occurs in two splits.
        """
        if _SPLIT in self.path:
            contexts = self._read_split(split)
        else:
            contexts = self._all_contexts
        posts: list[Post] = []
        for post in self.corpus.posts(split):
            posts.append(replace(post, context=contexts.get(post.id, post.context)))
        return posts

    def _read_split(self, split: Split) -> dict[str, str]:
        """Read the contexts in the file of one split.

        Raises:
            CorpusError: The file is missing or malformed.
        """
        file = context_path(self.path, split)
        contexts = read_contexts(file)
        ids = {post.id for post in self.corpus.posts(split)}
        _warn_of_unknown_ids(file, [name for name in contexts if name not in ids])
        return contexts

    @cached_property
    def _all_contexts(self) -> dict[str, str]:
        """Contexts in the file of all splits."""
        file = expand_user(self.path)
        contexts = read_contexts(file)
        num_splits: Counter[str] = Counter()
        for split in self.corpus.splits:
            num_splits.update(post.id for post in self.corpus.posts(split))
        for name in contexts:
            if num_splits[name] > 1:
                raise CorpusError(
                    f"{file}: post {truncate(repr(name))} is in {num_splits[name]} splits of "
                    f"{self.corpus.name}: write a file for each split, and {_SPLIT} in the path"
                )
        _warn_of_unknown_ids(file, [name for name in contexts if not num_splits[name]])
        return contexts


def context_path(path: str, split: Split) -> Path:
    """Return the file that holds the contexts of a split.

    Args:
        path: Path of the context file, with or without ``{split}``.
        split: The split.
    """
    return expand_user(path.replace(_SPLIT, split))


def read_contexts(file: Path) -> dict[str, str]:
    """Read contexts by post id.

    Raises:
        CorpusError: The file cannot be read, or is not a JSON object of strings.
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
    for name, context in contexts.items():
        if not isinstance(context, str):
            raise CorpusError(
                f"{expected} a {type(context).__name__} as the context of post "
                f"{truncate(repr(name))}"
            )
    return contexts


def _warn_of_unknown_ids(file: Path, names: Sequence[str]) -> None:
    """Warn of ids that no post has, and list the first ones."""
    if not names:
        return
    listed = ", ".join(truncate(repr(name)) for name in names[:_MAX_LISTED])
    if len(names) > _MAX_LISTED:
        listed += ", ..."
    from lightning.pytorch.utilities import rank_zero_warn  # imports for seconds

    rank_zero_warn(f"{file}: {len(names)} contexts are for posts that do not exist: {listed}")
