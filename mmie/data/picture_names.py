"""Names of pictures that are no paths: addresses, URIs, paths of Windows, several names."""

import binascii
import os
import re
from pathlib import Path, PureWindowsPath
from typing import Literal
from unicodedata import normalize
from urllib.parse import unquote, unquote_to_bytes, urlsplit

_DATA = "data:"
_FILE = "file:"
_UNICODE_FORMS: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")
_LOCAL_HOSTS = ("", "localhost")
_ADDRESS = re.compile(r"(?:^|/)[a-z][a-z0-9+.-]+:/", re.IGNORECASE)
_WINDOWS_ROOT = re.compile(r"(?:^|/)(?:[A-Za-z]:[\\/]|\\\\)")
_UP_OR_ROOT = re.compile(r"^[\\/]|(?:^|[\\/])\.\.(?:[\\/]|$)")
_SEPARATORS = re.compile(r"[;,|\s\[\]'\"]+")
_PICTURE_NAME = re.compile(r".\.(?:jpe?g|png|gif|webp|bmp|tiff?|heic|avif)\Z", re.IGNORECASE)
_LIST = re.compile(r"(?:^|/)[\[(].*[\])]$", re.DOTALL)


def is_data_uri(name: str) -> bool:
    """Tell whether the name of a picture is a ``data:`` URI, which holds the picture."""
    return name[: len(_DATA)].lower() == _DATA


def decode_data_uri(uri: str) -> bytes:
    r"""Return the bytes of a ``data:`` URI.

    Raises:
        ValueError: The URI has no comma, or its base64 is damaged.

    >>> decode_data_uri("data:image/png;base64,iVBORw0KGgo=")
    b'\x89PNG\r\n\x1a\n'
    """
    header, comma, body = uri.partition(",")
    if not comma:
        raise ValueError("a data: URI without a comma")
    content = unquote_to_bytes(body)
    if not header.lower().endswith(";base64"):
        return content
    try:
        return binascii.a2b_base64(b"".join(content.split()), strict_mode=True)
    except binascii.Error as error:
        raise ValueError(f"a data: URI with damaged base64 ({error})") from None


def from_foreign_path(name: str, folder: Path) -> str:
    r"""Convert a ``file:`` URI, or a relative path of Windows, to a path.

    All other names are kept. A name with backslashes is kept if it is the name of a file. A name
    with ``%20`` or with accents, of which there is no file, is replaced by its decoded or its other
    Unicode form (NFC or NFD, as macOS writes it) if that is the name of a file.

    Args:
        name: Name of a picture.
        folder: Folder that paths are relative to.

    >>> from_foreign_path("file:///a%20b.jpg", Path()), from_foreign_path("images\\7.jpg", Path())
    ('/a b.jpg', 'images/7.jpg')
    """
    if name[: len(_FILE)].lower() == _FILE:
        try:
            parts = urlsplit(name)
        except ValueError:
            return name
        is_local = parts.netloc.lower() in _LOCAL_HOSTS and parts.path
        return unquote(parts.path) if is_local and "%00" not in parts.path else name
    forms = [name]
    if "\\" in name and not _WINDOWS_ROOT.match(name):
        forms.append(PureWindowsPath(name).as_posix())
    default = forms[-1]
    if "%" in name and "%00" not in name:
        decoded = [unquote(form) for form in forms]
        forms += [form for form in decoded if not _UP_OR_ROOT.search(form)]
    if not all(form.isascii() for form in forms):
        forms += [normalize(kind, form) for kind in _UNICODE_FORMS for form in forms]
    if len(forms) == 1:
        return name
    return next((form for form in forms if os.path.exists(folder / form)), default)


def describe_missing(path: object) -> str:
    """Say why no file has the name of a picture, as far as the name shows.

    >>> describe_missing("images/7.jpg")
    'missing'
    >>> describe_missing("photos/https:/example.org/7.jpg")
    'missing: the name is an address: download the picture and name its file'
    """
    name = path.decode(errors="replace") if isinstance(path, bytes) else str(path or "")
    if is_data_uri(name):
        return "missing: the name is a data: URI: give the bytes that it holds"
    if _ADDRESS.search(name):
        return "missing: the name is an address: download the picture and name its file"
    if _WINDOWS_ROOT.search(name):
        return (
            "missing: the name is a path of Windows that begins at a drive: name it relative to "
            "the folder of the pictures"
        )
    names = [piece for piece in _SEPARATORS.split(name) if _PICTURE_NAME.search(piece)]
    if len(names) > 1:
        return f"missing: the name is that of {len(names)} pictures: name one"
    if _LIST.search(name):
        return "missing: the name is a list that is written as text: write the name alone"
    return "missing"
