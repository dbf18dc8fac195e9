"""The sections of ``metrics.json``, and the configuration of a run."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmie.runs.folder import CONFIG, METRICS
from mmie.utils.files import atomic_write_text, read_yaml

CORPUS_NOTE = "corpus_note"
"""Key of the corpus's note in each section that holds scores."""
COUNT, INSTANCES, DIGEST = "count", "instances", "predictions_sha256"
"""Keys in the section of a test: tested instances, which have a line each in the predictions,
instances of the split, and SHA-256 of the predictions."""


def update_metrics(folder: Path, section: str, values: dict[str, Any]) -> None:
    """Replace one section of ``metrics.json``, atomically.

    Raises:
        OSError: The file cannot be written.
    """
    sections = {**read_metrics(folder), section: values}
    text = json.dumps(sections, indent=2, sort_keys=True)
    atomic_write_text(folder / METRICS, text + "\n")


def read_metrics(folder: Path) -> dict[str, Any]:
    """Read the sections of ``metrics.json``. Without the file there are none.

    Raises:
        ValueError: The file is not JSON.
    """
    path = folder / METRICS
    if not path.exists():
        return {}
    sections: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return sections


def is_partial(section: Mapping[str, Any]) -> bool:
    """Tell whether the section of a test records that a part of the split was tested.

    >>> is_partial({"count": 16, "instances": 48}), is_partial({"count": 48, "instances": 48})
    (True, False)
    >>> is_partial({"test/f1": 0.5})
    False
    """
    return COUNT in section and bool(section[COUNT] != section.get(INSTANCES, section[COUNT]))


def with_prefix(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return the values whose names begin with a prefix."""
    return {name: value for name, value in values.items() if name.startswith(prefix)}


def read_config(folder: Path) -> dict[str, Any]:
    """Read the whole configuration of a run.

    Raises:
        OSError: The folder has no configuration.
        ValueError: The file is not UTF-8.
        yaml.YAMLError: The file is not YAML, or too large.
    """
    config: dict[str, Any] = read_yaml(folder / CONFIG)
    return config
