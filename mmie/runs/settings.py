"""Settings of a run as dotted names and values, and where they differ."""

from collections.abc import Iterator, Mapping
from typing import Any

SETTINGS = "settings"
"""Section of ``metrics.json`` that holds the settings of the fit."""
_CALL_SETTINGS = ("ckpt_path", "overwrite", "run_dir", "trainer.default_root_dir", "config")
"""Settings of one call of a command."""
_ABSENT = object()
WITHOUT_EFFECT = (
    "model.text_lr",
    "model.fusion_lr",
    "model.head_lr",
    "model.weight_decay",
    "model.text_lr_decay",
    "model.init_from",
)
"""Settings that a continued fit cannot change: they are part of the state of the optimiser, or of
the weights."""


def flatten_settings(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the leaves of a configuration by dotted name, without ``init_args`` in the names.

    >>> flatten_settings({"model": {"init_args": {"text_lr": 0.1}}})
    {'model.text_lr': 0.1}
    """
    return {name.replace("init_args.", ""): value for name, value in _leaves(config, prefix)}


def setting_differences(
    old: Mapping[str, Any], new: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """Return the values of settings that differ between two calls, by dotted name.

    Args:
        old: Settings of the earlier call, by dotted name. A setting that it lacks is not compared.
        new: Settings of the later call.
    """
    differences = {}
    for name, value in old.items():
        other = new.get(name, _ABSENT)
        if not name.startswith(_CALL_SETTINGS) and other is not _ABSENT and other != value:
            differences[name] = (value, other)
    return differences


def changed_settings(recorded: Mapping[str, Any], current: Mapping[str, Any]) -> list[str]:
    """Return the names of settings of one fit that were edited, added or removed, sorted.

    Args:
        recorded: Settings in ``metrics.json``, by dotted name.
        current: Settings in ``config.yaml``, by dotted name.

    >>> changed_settings({"seed": 1, "model.dropout": 0.1}, {"seed": 1, "model.dropouts": 0.1})
    ['model.dropout', 'model.dropouts']
    """
    changed = []
    for name in sorted({**recorded, **current}):
        same = recorded.get(name, _ABSENT) == current.get(name, _ABSENT)
        if not same and not name.startswith(_CALL_SETTINGS):
            changed.append(name)
    return changed


def describe_differences(differences: Mapping[str, tuple[Any, Any]]) -> str:
    """List differences on one line.

    >>> describe_differences({"data.batch_size": (8, 16)})
    'data.batch_size 16 (was 8)'
    """
    return ", ".join(f"{name} {new} (was {old})" for name, (old, new) in differences.items())


def _leaves(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield the leaves of a nested mapping by dotted name."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
