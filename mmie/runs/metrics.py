"""``metrics.json``, the record of a run, and the configuration of a run.

The record has a section for each part of a run, and is written whole. Its sections say what belongs
together: see `mmie.runs.facts`. ``sha256`` is the checksum of all sections. A file of versions
before 0.2 has none.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from mmie.runs.folder import CONFIG, METRICS, RunError
from mmie.utils.files import atomic_write_text, digest_values, read_yaml
from mmie.utils.text import first_line

CORPUS_NOTE = "corpus_note"
"""Key of the corpus's note in each section that holds scores."""
COUNT, INSTANCES, DIGEST = "count", "instances", "predictions_sha256"
"""Keys in the section of a test: tested instances, which have a line each in the predictions,
instances of the split, and SHA-256 of the predictions."""
_CHECKSUM = "sha256"


def update_metrics(folder: Path, section: str, values: Mapping[str, Any]) -> None:
    """Replace one section of ``metrics.json``, atomically.

    Raises:
        RunError: The file is damaged.
        OSError: The file cannot be read or written.
    """
    write_metrics(folder, {**read_metrics(folder), section: values})


def write_metrics(folder: Path, sections: Mapping[str, Any]) -> None:
    """Write all sections of ``metrics.json``, atomically. Numbers that are not finite become null.

    Raises:
        OSError: The file cannot be written.
    """
    finite = _without_infinities(sections)
    content = {**finite, _CHECKSUM: digest_values(finite)}
    atomic_write_text(folder / METRICS, json.dumps(content, indent=2, sort_keys=True) + "\n")


def read_metrics(folder: Path) -> dict[str, Any]:
    """Read the sections of ``metrics.json``. Without the file there are none.

    Raises:
        RunError: The file is damaged.
        OSError: The file cannot be read.
    """
    path = folder / METRICS
    if not path.exists():
        return {}
    try:
        sections = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(sections, dict):
            raise ValueError("expected an object")
        checksum = sections.pop(_CHECKSUM, None)
        if checksum not in (None, digest_values(sections)):
            raise ValueError("its content does not match its checksum")
    except (ValueError, RecursionError) as error:
        raise RunError(
            f"{path} is damaged ({first_line(error)}): remove it, and test the run again"
        ) from error
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
        RunError: The file is damaged.
        OSError: The folder has no configuration, or it cannot be read.
    """
    path = folder / CONFIG
    try:
        config = read_yaml(path)
        if not isinstance(config, dict):
            raise ValueError("expected settings")
    except (ValueError, yaml.YAMLError) as error:
        raise RunError(f"{path} is damaged: {first_line(error)}") from error
    return config


def _without_infinities(value: Any) -> Any:
    """Copy plain values with None in place of numbers that JSON cannot hold."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {str(key): _without_infinities(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return list(map(_without_infinities, value))
    return value
