"""Files that are there whole or not at all, and what others wrote into them."""

import contextlib
import hashlib
import os
import uuid
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

MOST_VALUES = 100_000
"""Values of the largest YAML file that is read."""


def write_whole(file: Path, write: Callable[[Path], object]) -> None:
    """Write a file under another name beside it and rename it; the folder is made if need be.

    A reader, or a run beside this one, sees the old file or the new one, and a kill leaves the old one.

    Args:
        file: The file.
        write: Writes to the path that it is given, which has the file's suffix.

    Raises:
        OSError: The file cannot be written; an older one stays as it is.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{uuid.uuid4().hex}.partial{file.suffix}")
    try:
        write(partial)
        os.replace(partial, file)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


class SwollenYaml(yaml.YAMLError):
    """YAML that holds more than its text shows."""


def read_yaml(file: Path) -> Any:  # noqa: ANN401
    """The plain values of a YAML file.

    Raises:
        OSError: It cannot be read.
        ValueError: It is no UTF-8.
        yaml.YAMLError: It is no YAML.
        SwollenYaml: Its aliases spell out to more than `MOST_VALUES`, or refer to what holds them.
    """
    try:
        text = file.read_text(encoding="utf-8")
        if _count_values(text) > MOST_VALUES:
            raise SwollenYaml(f"expected at most {MOST_VALUES} values, found more: aliases that swell")
        return yaml.safe_load(text)
    except RecursionError:
        raise SwollenYaml("expected values, found endless nesting") from None


def _count_values(text: str) -> int:
    """Values of a YAML text when all aliases are spelled out; more than `MOST_VALUES` if there is no end to them."""
    sizes: dict[yaml.Node, int] = {}

    def size(node: yaml.Node) -> int:
        if node not in sizes:
            sizes[node] = MOST_VALUES + 1  # until it is known: one that holds itself has no end
            values = chain(*node.value) if isinstance(node, yaml.MappingNode) else node.value
            sizes[node] = 1 + (0 if isinstance(node, yaml.ScalarNode) else sum(map(size, values)))
        return sizes[node]

    root = yaml.compose(text, Loader=yaml.SafeLoader)
    return 0 if root is None else size(root)


def digest_file(file: Path) -> str:
    """SHA-256 of a file; of a folder that of its files' digests, in the order of their names."""
    if file.is_dir():
        parts = [digest_file(part) for part in sorted(file.iterdir()) if part.is_file()]
        return hashlib.sha256("".join(parts).encode()).hexdigest()
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
