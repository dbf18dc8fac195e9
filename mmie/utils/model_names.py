"""Names of pretrained models: folders, and models of the hub."""

from pathlib import Path


def is_missing_folder(source: str | Path) -> bool:
    """Tell whether a model's name can only be that of a folder, which does not exist.

    A name of the hub has one slash at most. Where the first part of such a name is a folder here,
    it is taken for a path: the hub would be asked in vain, and slowly without a network.

    >>> is_missing_folder("./encoder"), is_missing_folder("a/b/c"), is_missing_folder("owner/name")
    (True, True, False)
    """
    name = str(source)
    if Path(name).exists():
        return False
    path = Path(name).expanduser()
    is_path = name.startswith((".", "~")) or path.is_absolute() or len(path.parts) > 2
    return is_path or (len(path.parts) == 2 and path.parent.is_dir())


def missing_folder_message(kind: str, source: str | Path) -> str:
    """Describe in one line that a model's folder does not exist."""
    return (
        f"{kind} '{source}': there is no such folder; name one that exists, or a model of the hub "
        "as owner/name"
    )
