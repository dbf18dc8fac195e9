"""Context files, as ``data.context_file`` reads them, with a record of how they were made."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmie.context.errors import ContextError
from mmie.data.corpora.contexts import context_path, read_contexts
from mmie.types import Post, Split
from mmie.utils.files import atomic_write_texts, digest_file, digest_values
from mmie.utils.text import replace_surrogates, safe_repr, truncate
from mmie.utils.version import VERSION

_MAKERS, _DIGEST = "makers", "sha256"
"""Keys of a record."""


@dataclass(frozen=True, slots=True)
class ContextTarget:
    """Context file of one or of all splits, and its record beside it.

    Attributes:
        file: The context file.
        splits: Splits whose contexts it holds.
    """

    file: Path
    splits: tuple[Split, ...]

    @property
    def record(self) -> Path:
        """File of the record."""
        return self.file.with_name(f"{self.file.stem}.record.json")

    def check(self, settings: Mapping[str, Any], append: bool, overwrite: bool) -> None:
        """Raise if the file cannot be written as asked.

        Args:
            settings: What decides on the new contexts.
            append: Whether to append to the contexts in the file.
            overwrite: Whether to replace them.

        Raises:
            ContextError: The file exists and is neither to be appended to nor to be replaced, or it
                holds contexts of the same settings already.
            CorpusError: The file to append to is malformed.
        """
        if not self.file.exists():
            return
        if not (append or overwrite):
            raise ContextError(
                f"{self.file}: exists: add --append to join the texts, or --overwrite to replace it"
            )
        if append:
            read_contexts(self.file)
            made = [maker.get("settings_sha256") for maker in self._read_makers()]
            if digest_values(dict(settings)) in made:
                raise ContextError(
                    f"{self.file}: holds these contexts already (see {self.record.name}): name "
                    "another file, or add --overwrite instead of --append"
                )

    def write(
        self, contexts: Mapping[str, str], settings: Mapping[str, Any], append: bool
    ) -> dict[str, str]:
        """Write contexts and the record of how they were made, both or neither.

        Blanks and line breaks in a context become single blanks. Empty contexts are left out.

        Args:
            contexts: Contexts by post id.
            settings: What decides on them.
            append: Whether they follow those that the file holds.

        Returns:
            All contexts of the file.

        Raises:
            ContextError: The record of the file that is appended to cannot be read.
            CorpusError: The file that is appended to is malformed.
            OSError: A file cannot be written.
        """
        joined: dict[str, str] = {}
        makers: list[dict[str, Any]] = []
        if append and self.file.exists():
            joined = read_contexts(self.file)
            makers = self._read_makers()
        count = 0
        for name, context in contexts.items():
            text = " ".join(replace_surrogates(context).split())
            if text:
                joined[name] = f"{joined[name]} {text}" if joined.get(name) else text
                count += 1
        makers.append(
            {
                "settings": dict(settings),
                "settings_sha256": digest_values(dict(settings)),
                "splits": self.splits,
                "contexts": count,
                "version": VERSION,
            }
        )
        text = json.dumps(joined, ensure_ascii=False, indent=0) + "\n"
        digest = hashlib.sha256(text.encode()).hexdigest()
        record = json.dumps({_MAKERS: makers, _DIGEST: digest}, ensure_ascii=False, indent=2) + "\n"
        atomic_write_texts(self.file.parent, {self.file.name: text, self.record.name: record})
        return joined

    def _read_makers(self) -> list[dict[str, Any]]:
        """Read the makers of the file's contexts from its record.

        Returns:
            An entry for each maker; one entry without settings for contexts of other origin.

        Raises:
            ContextError: The record is malformed.
        """
        digest = digest_file(self.file)
        try:
            record = json.loads(self.record.read_text(encoding="utf-8"))
            makers = [dict(maker) for maker in record[_MAKERS]]
            recorded = record[_DIGEST]
        except FileNotFoundError:
            return [{"origin": "not made by mmie context", _DIGEST: digest}]
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise ContextError(
                f"{self.record}: expected a record of mmie context, found none: move it"
            ) from error
        if recorded != digest:
            makers.append({"origin": "changed since", _DIGEST: digest})
        return makers


def context_targets(path: str, posts: Mapping[Split, Sequence[Post]]) -> list[ContextTarget]:
    """Return the context files of some splits.

    Args:
        path: Path of the file, with ``{split}`` for a file for each split.
        posts: Posts by split.

    Raises:
        ContextError: Posts of two splits have the same id and the same file.
    """
    splits: dict[Path, tuple[Split, ...]] = {}
    for split in posts:
        file = context_path(path, split)
        splits[file] = (*splits.get(file, ()), split)
    for file, joined in splits.items():
        seen: set[str] = set()
        for split in joined:
            names = {post.id for post in posts[split]}
            repeated = min(names & seen, default=None)
            if repeated is not None:
                raise ContextError(
                    f"{file}: post {truncate(safe_repr(repeated))} is in two splits: put {{split}} "
                    "into --out, for a file for each split"
                )
            seen |= names
    return [ContextTarget(file, joined) for file, joined in splits.items()]
