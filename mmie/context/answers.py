"""Content-addressed cache of answers, which can be published and replayed without a model.

The cache is a file of JSON lines. A line with the keys ``maker`` and ``settings`` tells what the
following answers were made with, such as the model and the text of the prompt's template. A line
with ``key``, ``maker``, ``answer`` and ``sum`` holds one answer. The key is the SHA-256 of the
settings and of what was asked about: the text and the SHA-256 of each picture.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmie.context.errors import ContextError
from mmie.data.parsing import read_lines
from mmie.utils.files import append_lines, digest_values
from mmie.utils.text import replace_surrogates

_SUM_DIGITS = 16
"""Hexadecimal digits of the checksum of a line."""


class AnswerCache:
    """Answers of one maker, kept in a file that other makers may share.

    A line that is damaged, or that was cut off when a process was killed, is ignored. An answer is
    kept on one line of text and cut to ``max_characters``, whoever wrote the file.

    Args:
        file: The file, which need not exist.
        settings: JSON values that decide on the answers.
        max_characters: Most characters of an answer.

    Raises:
        ContextError: The file cannot be read.
    """

    def __init__(self, file: Path, settings: Mapping[str, Any], max_characters: int) -> None:
        self.file = file
        self.settings = dict(settings)
        self.max_characters = max_characters
        self._maker = digest_values(self.settings)
        self._answers: dict[str, str] = {}
        self._is_announced = False
        self._read()

    def __len__(self) -> int:
        return len(self._answers)

    def key(self, subject: Mapping[str, Any]) -> str:
        """Return the key of an answer.

        Args:
            subject: JSON values that say what is asked about.
        """
        return digest_values({"settings": self.settings, "subject": dict(subject)})

    def get(self, key: str) -> str | None:
        """Return the answer under a key, or None if there is none."""
        return self._answers.get(key)

    def add(self, key: str, answer: str) -> str:
        """Append an answer to the file and return it as it is kept.

        Raises:
            OSError: The file cannot be written.
        """
        answer = self._clean(answer)
        record = {"key": key, "maker": self._maker, "answer": answer}
        lines: list[dict[str, Any]] = [{**record, "sum": _checksum(record)}]
        if not self._is_announced:
            lines.insert(0, {"maker": self._maker, "settings": self.settings})
        self.file.parent.mkdir(parents=True, exist_ok=True)
        append_lines(self.file, [json.dumps(line, ensure_ascii=False) + "\n" for line in lines])
        self._is_announced = True
        self._answers[key] = answer
        return answer

    def _clean(self, answer: str) -> str:
        """Put an answer on one line and cut it."""
        return " ".join(replace_surrogates(answer).split())[: self.max_characters].strip()

    def _read(self) -> None:
        """Read the valid lines of the file."""
        try:
            lines = read_lines(self.file)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            raise ContextError(f"{self.file}: cannot be read: {error.strerror or error}") from error
        for line in lines:
            self._read_line(line)

    def _read_line(self, line: str) -> None:
        """Keep the answer of a valid line. Of several under one key, the first is kept."""
        try:
            record = json.loads(line)
            if "settings" in record:
                self._is_announced |= record["maker"] == self._maker
                return
            if record.pop("sum") != _checksum(record):
                return
            key, answer = record["key"], record["answer"]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return
        if isinstance(key, str) and isinstance(answer, str):
            self._answers.setdefault(key, self._clean(answer))


def _checksum(record: Mapping[str, object]) -> str:
    """Compute the checksum of a line's record."""
    return digest_values(dict(record))[:_SUM_DIGITS]
