"""Shards: the files of a feature cache.

A shard is a safetensors file with the rows of some pictures or texts. Its name is the SHA-256 of
its bytes, so that any changed byte is detected. Its metadata holds the key of each row, the cache
that the rows belong to, and their type and shape. Shards of version 0.1 hold the keys alone.
"""

import hashlib
import json
import os
import re
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mmie.utils.files import atomic_write, digest_file

SUFFIX = ".safetensors"
_NAME = re.compile(r"[0-9a-f]{64}\.safetensors")


class DamagedShard(ValueError):
    """Shard whose bytes are not those that were written."""


class ForeignShard(ValueError):
    """Undamaged file that is no shard of the cache."""


class Shard(NamedTuple):
    """Content of a shard.

    Attributes:
        keys: Key of each row.
        rows: (keys, width), mapped from the file.
    """

    keys: list[str]
    rows: Tensor


def write_shard(folder: Path, keys: Sequence[str], rows: Tensor, cache: str) -> Path:
    """Write rows as a new shard, atomically. It replaces no other file, not even of the same rows.

    Args:
        folder: Folder of the cache.
        keys: Key of each row.
        rows: (keys, width), contiguous.
        cache: Digest of the cache's identity.

    Returns:
        The file.

    Raises:
        OSError: The file cannot be written.
    """
    metadata = {
        "keys": json.dumps(list(keys)),
        "id": uuid.uuid4().hex,  # a file of the same bytes may be one that others alone can read
        **_description(rows, cache),
    }
    content = save({"rows": rows}, metadata)
    # the digest is that of the bytes in memory, so that errors of the disk are found as well
    file = folder / f"{hashlib.sha256(content).hexdigest()}{SUFFIX}"
    atomic_write(file, lambda partial: partial.write_bytes(content))
    return file


def read_shard(file: Path, cache: str, dtype: torch.dtype, verify: bool) -> Shard:
    """Map the rows of a shard.

    Args:
        file: The shard.
        cache: Digest of the cache's identity.
        dtype: Type of the cache's rows.
        verify: Whether to compare the bytes of the file with its name.

    Raises:
        DamagedShard: The bytes are not those that were written.
        ForeignShard: The bytes are undamaged, but not those of a shard of this cache.
        FileNotFoundError: The file does not exist.
        OSError: The file cannot be read.
    """
    if _NAME.fullmatch(file.name) is None:
        raise ForeignShard("its name is not that of a shard")
    if verify and digest_file(file) != file.stem:
        raise DamagedShard("its bytes are not what was written")
    try:
        with safe_open(file, framework="pt") as content:
            metadata = content.metadata() or {}
            rows: Tensor = content.get_tensor("rows")
        keys = json.loads(metadata["keys"])
    except FileNotFoundError as error:  # safetensors raises it for every file that it cannot open
        if os.path.lexists(file):
            raise OSError("cannot be opened") from error
        raise
    except RuntimeError as error:  # torch raises it where it cannot map a file
        raise OSError(f"cannot be mapped: {error}") from error
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ForeignShard("it holds no rows with keys") from error
    for name, value in _description(rows, cache).items():
        if metadata.get(name, value) != value:  # shards of version 0.1 lack the description
            raise ForeignShard(f"its {name} is {metadata[name]}, expected {value}")
    if rows.dtype != dtype or rows.ndim != 2 or len(rows) != len(keys):
        shape = tuple(rows.shape)
        raise ForeignShard(f"{rows.dtype} of shape {shape} for {len(keys)} keys of {dtype}")
    return Shard(keys, rows)


def _description(rows: Tensor, cache: str) -> dict[str, str]:
    """Describe the rows of a cache, for the metadata."""
    return {"cache": cache, "dtype": str(rows.dtype), "shape": json.dumps(list(rows.shape))}
