"""Atomic writing of files and folders, digests, and bounded YAML reading."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from io import BufferedWriter
from itertools import chain
from pathlib import Path
from typing import Any

import yaml

from mmie.utils.partial_files import partial_path

MAX_YAML_VALUES = 100_000
"""Largest number of values in a YAML file that is read."""


def atomic_write(file: Path, write: Callable[[Path], object], durable: bool = False) -> None:
    """Write a file under a temporary name beside it, then rename it.

    Readers see the old file or the new one, never a part of one; a killed process leaves the old
    one, and the temporary file for `mmie.utils.partial_files.remove_stale_partials`. Missing
    folders are made.

    Args:
        file: The file.
        write: Writes to the path that it receives, which has the file's suffix.
        durable: Wait until the disk holds the content before the file is renamed.

    Raises:
        OSError: The file cannot be written; an older one stays as it is.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = partial_path(file)
    try:
        with named_errors(file, partial):
            write(partial)
            if durable:
                with partial.open("rb") as stream:
                    os.fsync(stream.fileno())
            os.replace(partial, file)
    except BaseException:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


def atomic_write_text(file: Path, text: str) -> None:
    """Write a text file as UTF-8, atomically.

    Raises:
        OSError: The file cannot be written; an older one stays as it is.
    """
    atomic_write(file, lambda partial: partial.write_text(text, encoding="utf-8"))


def atomic_write_texts(folder: Path, texts: Mapping[str, str]) -> list[Path]:
    """Write text files into a folder as UTF-8, all of them or none.

    All texts are on the disk before the first file is replaced. If a file cannot be replaced, those
    before it get their old content back. A link under a file's name is replaced and not followed.

    Args:
        folder: The folder, made if it does not exist.
        texts: Content of each file, by file name.

    Returns:
        The files, in the given order.

    Raises:
        OSError: A file cannot be written. Older files stay as they are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / name for name in texts]
    with tempfile.TemporaryDirectory(prefix=".", suffix=".partial", dir=folder) as temporary:
        new, old = Path(temporary, "new"), Path(temporary, "old")
        new.mkdir()
        old.mkdir()
        for file, text in zip(files, texts.values(), strict=True):
            with named_errors(file, new / file.name):
                _write_to_disk(new / file.name, text)
            if file.is_dir() and not file.is_symlink():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(file))
            if os.path.lexists(file):
                with named_errors(file, old / file.name):
                    _link_or_copy(file, old / file.name)
        replaced: list[Path] = []
        try:
            for file in files:
                replaced.append(file)
                with named_errors(file, new / file.name):
                    os.replace(new / file.name, file)
        except BaseException:
            for file in replaced:
                _restore(file, old / file.name, new / file.name)
            raise
    return files


def _write_to_disk(file: Path, text: str) -> None:
    """Write a text file and wait until the disk holds it, so that a full disk is noticed."""
    with file.open("x", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def _link_or_copy(file: Path, copy: Path) -> None:
    """Give a file a second name, or copy it where the file system has no links."""
    try:
        os.link(file, copy, follow_symlinks=False)
    except (OSError, NotImplementedError):
        shutil.copy2(file, copy, follow_symlinks=False)


def _restore(file: Path, old: Path, new: Path) -> None:
    """Put an old file back, or remove the new one if there was none.

    Args:
        file: The file.
        old: The old file, if there was one.
        new: The new file, still there if the file was not replaced.
    """
    with contextlib.suppress(OSError):
        if os.path.lexists(old):
            os.replace(old, file)
        elif not new.exists():
            file.unlink()


@contextlib.contextmanager
def named_errors(file: Path, temporary: Path) -> Iterator[None]:
    """Name a file in errors that name nothing, such as a full disk's, or its temporary file.

    If the temporary file is a folder, that holds for all files in it.

    Raises:
        OSError: The body raised one.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:  # an error of Pillow
            raise OSError(f"{file}: {error}") from error
        if error.filename is not None and not Path(error.filename).is_relative_to(temporary):
            raise
        raise OSError(error.errno, os.strerror(error.errno), str(file)) from error


def open_to_append(file: Path, new: bool = False) -> BufferedWriter:
    """Open a file for appending, but never what a link in its place leads to.

    Args:
        file: The file, which is made if it does not exist.
        new: Whether to remove what is there and to begin with an empty file.

    Raises:
        OSError: The file cannot be written, or it is a link, has another hard link, or is no file.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    if new:
        file.unlink(missing_ok=True)
        flags |= os.O_EXCL
    descriptor = os.open(file, flags, 0o666)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink != 1:
        os.close(descriptor)
        raise OSError(errno.ELOOP, "expected a plain file, found a link", str(file))
    return os.fdopen(descriptor, "ab")


def append_lines(file: Path, lines: Iterable[str], follow_links: bool = False) -> None:
    """Append lines to a file and wait until the disk holds them.

    A last line without its end, which a killed writer left, is ended first.

    Args:
        file: The file, which is made if it does not exist.
        lines: Lines with their ends.
        follow_links: Whether the file may be a link; see `open_to_append`.

    Raises:
        OSError: The file cannot be written.
    """
    with file.open("ab") if follow_links else open_to_append(file) as stream:
        line_break = b"\n" if _ends_in_partial_line(file) else b""
        stream.write(line_break + "".join(lines).encode())
        stream.flush()
        os.fsync(stream.fileno())


def _ends_in_partial_line(file: Path) -> bool:
    """Tell whether the last line of a file has no line end."""
    with file.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        if size == 0:
            return False
        stream.seek(size - 1)
        return stream.read(1) != b"\n"


@contextlib.contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Provide a temporary folder that replaces ``folder`` on success and is removed on failure.

    Raises:
        FileExistsError: ``folder`` is a file, or a folder that is not empty.
        OSError: The folder cannot be written.
    """
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise FileExistsError(f"'{folder}' holds something already")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as parent:
        temporary = Path(parent) / folder.name
        with named_errors(folder, temporary):
            temporary.mkdir()
            yield temporary
            temporary.replace(folder)


class YamlTooLarge(yaml.YAMLError):
    """A YAML text that spells out more values than `MAX_YAML_VALUES`."""


def read_yaml(file: Path) -> Any:
    """Read the plain values of a YAML file.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file is not UTF-8.
        yaml.YAMLError: The file is not YAML.
        YamlTooLarge: The aliases spell out to more than `MAX_YAML_VALUES` values, or form a cycle.
    """
    try:
        text = file.read_text(encoding="utf-8")
        if _count_values(text) > MAX_YAML_VALUES:
            raise YamlTooLarge(
                f"expected at most {MAX_YAML_VALUES} values, found more with all aliases expanded"
            )
        return yaml.safe_load(text)
    except RecursionError:
        raise YamlTooLarge("expected values, found endless nesting") from None


def _count_values(text: str) -> int:
    """Count the values of a YAML text with all aliases spelled out.

    A cycle of aliases counts as more than `MAX_YAML_VALUES`.
    """
    sizes: dict[yaml.Node, int] = {}

    def size(node: yaml.Node) -> int:
        if node in sizes:
            return sizes[node]
        sizes[node] = MAX_YAML_VALUES + 1  # until it is known: a node that holds itself has no end
        count = 1
        if isinstance(node, yaml.MappingNode):
            count += sum(map(size, chain(*node.value)))
        elif isinstance(node, yaml.SequenceNode):
            count += sum(map(size, node.value))
        sizes[node] = count
        return count

    root = yaml.compose(text, Loader=yaml.SafeLoader)
    return 0 if root is None else size(root)


def digest_file(file: Path) -> str:
    """Compute the SHA-256 of a file.

    Raises:
        OSError: The file cannot be read.
    """
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_values(values: Any) -> str:
    """Compute the SHA-256 of JSON values, whatever the order of their keys.

    >>> digest_values({"a": 1, "b": [2]}) == digest_values({"b": (2,), "a": 1})
    True
    """
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def digest_path(path: Path) -> str:
    """Compute the SHA-256 of a file, or of the digests of a folder's files in order of their names.

    Raises:
        OSError: A file cannot be read.
    """
    if not path.is_dir():
        return digest_file(path)
    digests = [digest_file(file) for file in sorted(path.iterdir()) if file.is_file()]
    return hashlib.sha256("".join(digests).encode()).hexdigest()
