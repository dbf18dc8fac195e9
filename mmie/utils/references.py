"""References in a foreign configuration: files, repositories and code that it asks to be read."""

from collections.abc import Iterator, Mapping
from typing import Any

_CODE_KEYS = frozenset({"auto_map", "custom_pipelines"})
"""Keys under which transformers finds code of a repository."""
_NETWORK_KEYS = frozenset({"backbone", "use_pretrained_backbone", "pretrained"})
"""Keys under which a configuration of transformers names another network to load."""
_PATH_ENDINGS = ("_file", "_path", "_dir", "_url")
_LABEL_KEYS = frozenset({"id2label", "label2id"})
"""Keys of names that transformers only prints. Names of relations hold slashes."""
_ORIGIN_KEYS = frozenset({"_name_or_path", "name_or_path"})
"""Keys of the place that a configuration was once read from."""


def without_origin(config: Any) -> Any:
    """Copy a configuration without the places that it was read from, at any depth.

    >>> without_origin({"_name_or_path": "/home/me/encoder", "layers": [{"name_or_path": "x"}]})
    {'layers': [{}]}
    """
    if isinstance(config, Mapping):
        items = [(key, value) for key, value in config.items() if key not in _ORIGIN_KEYS]
        return {key: without_origin(value) for key, value in items}
    if isinstance(config, list | tuple):
        return [without_origin(value) for value in config]
    return config


def find_reference(config: object) -> str | None:
    """Describe the first value that makes a library read a file, a repository or code.

    Args:
        config: Configuration of a network, in plain values.

    Returns:
        The key and the value; None if the configuration is complete in itself.
    """
    for key, value in _walk(config, ""):
        is_named = key in _CODE_KEYS | _NETWORK_KEYS or key.endswith(_PATH_ENDINGS)
        if is_named and value:
            return _describe(key, value)
        if isinstance(value, str) and is_location(value):
            return _describe(key, value)
    return None


def find_file_reference(settings: object) -> str | None:
    """Describe the first key that makes a library read another file or code.

    Other strings are not looked at, since tokens such as ``</s>`` look like paths.

    Args:
        settings: Settings of a tokenizer, in plain values.
    """
    for key, value in _walk(settings, ""):
        is_text = isinstance(value, str | list | tuple | Mapping)
        if value and (key in _CODE_KEYS or (key.endswith(_PATH_ENDINGS) and is_text)):
            return _describe(key, value)
    return None


def is_location(text: str) -> bool:
    r"""Tell whether a text can be a path, an address or the name of a repository.

    >>> is_location("owner/name"), is_location("hf-hub:name"), is_location("gelu_new")
    (True, True, False)
    """
    return any(mark in text for mark in "/\\:\0") or text.startswith(("~", "."))


def _walk(value: object, key: str) -> Iterator[tuple[str, object]]:
    """Yield all values below a value, each with the key that it lies under."""
    if key in _LABEL_KEYS:
        return
    yield key, value
    if isinstance(value, Mapping):
        for name, child in value.items():
            yield from _walk(child, str(name))
    elif isinstance(value, list | tuple):
        for child in value:
            yield from _walk(child, key)


def _describe(key: str, value: object) -> str:
    """Name a key and its value, cut to a line."""
    return f"{key} of {str(value)[:80]!r}"
