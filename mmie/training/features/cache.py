"""Content-addressed feature cache: rows on disk, by the content that they were computed from.

A cache is a folder of shards: see `mmie.training.features.shards`. They are written atomically, so
that an interrupted fill continues where it stopped, and several processes and users can fill one
cache. A shard with wrong bytes is removed and computed again. A file that cannot be read, or that
is no shard of the cache, is left as it is and named. A cache that holds all rows needs no right to
write.
"""

import contextlib
import hashlib
import json
import os
import shutil
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from rich.markup import escape
from rich.progress import track
from torch import Tensor

from mmie.training.features.shards import (
    SUFFIX,
    DamagedShard,
    ForeignShard,
    Shard,
    read_shard,
    write_shard,
)
from mmie.types import MmieError
from mmie.utils.distributed import rank_and_world_size
from mmie.utils.files import atomic_write_text
from mmie.utils.partial_files import partial_path, remove_stale_partials
from mmie.utils.prefetch import prefetch
from mmie.utils.terminal import PlainConsole, printable

_Source = TypeVar("_Source")
_Loaded = TypeVar("_Loaded")
_Item = TypeVar("_Item")
FILL_BATCH = 32
"""Number of sources that are computed together."""
_SHARD_BYTES = 64 * 2**20
_SPARE_BYTES = 2**30
"""Disk space that a cache leaves free."""
_MAX_LISTED = 3
"""Files that a warning lists."""
_WAY_OUT = "name another folder by --feature_store, or set feature_store: null"


class FeatureCacheError(MmieError, RuntimeError):
    """Rows that do not fit the cache's type, or a folder that cannot be read or written."""


class FeatureCache:
    """Memory-mapped rows of one kind.

    Args:
        root: Folder of all caches.
        name: Name of the cache, for readers of the folder.
        identity: Everything that a row depends on beside its key. Each identity has its own cache.
        dtype: Type of the rows on disk.
    """

    def __init__(
        self, root: Path, name: str, identity: Mapping[str, Any], dtype: torch.dtype = torch.float16
    ) -> None:
        full_identity = {**identity, "dtype": str(dtype)}
        self._settings = json.dumps(full_identity, indent=2, sort_keys=True, default=str)
        self._digest = hashlib.sha256(self._settings.encode()).hexdigest()
        self.folder = root / f"{name}-{self._digest[:16]}"
        self.dtype = dtype
        self._shards: dict[str, Tensor] = {}  # (rows, width) each
        self._positions: dict[str, tuple[str, int]] = {}  # shard and row of each key
        self._left: set[str] = set()  # names of files that are neither mapped nor removed
        self.refresh()

    def __contains__(self, key: str) -> bool:
        return key in self._positions

    def __len__(self) -> int:
        return len(self._positions)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state with the names of the shards: a worker process maps them itself."""
        return {**self.__dict__, "_shards": list(self._shards), "_positions": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update({**state, "_shards": {}})
        for name in state["_shards"]:
            self._map_own(self.folder / name)

    def refresh(self) -> None:
        """Map the shards that this process or others have written, and remove damaged ones.

        Raises:
            FeatureCacheError: The folder cannot be read.
        """
        left: dict[str, list[str]] = {}
        for name in self._list_folder():
            if not name.endswith(SUFFIX) or name.startswith("."):  # others may be writing it
                continue
            if name in self._shards or name in self._left:
                continue
            file = self.folder / name
            try:
                self._map(name, read_shard(file, self._digest, self.dtype, verify=True))
            except FileNotFoundError:  # another process has removed it
                continue
            except DamagedShard as error:
                warnings.warn(f"{file} is damaged ({error}) and is computed again", stacklevel=2)
                with contextlib.suppress(OSError):
                    file.unlink()
            except (ForeignShard, OSError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                left.setdefault(reason, []).append(name)
        for reason, names in left.items():
            self._left.update(names)
            listed = ", ".join(names[:_MAX_LISTED]) + (", ..." if len(names) > _MAX_LISTED else "")
            warnings.warn(
                f"{self.folder}: {len(names)} files are left as they are and not used ({reason}): "
                f"{listed}; rows that are missing are computed again",
                stacklevel=2,
            )

    def rows(self, keys: Sequence[str | None]) -> Tensor:
        """Return the rows of some keys, (keys, width). The rows of None are 0.

        Raises:
            KeyError: A key has no row.
            FeatureCacheError: The cache is empty, so that the width is unknown.
        """
        positions = [None if key is None else self._positions[key] for key in keys]
        if not self._shards:
            raise FeatureCacheError(f"{self.folder} holds no rows yet")
        width = next(iter(self._shards.values())).shape[1]
        rows = torch.zeros(len(keys), width, dtype=self.dtype)
        for index, position in enumerate(positions):
            if position is not None:
                shard, row = position
                rows[index] = self._shards[shard][row]
        return rows

    def add(self, keys: Sequence[str], rows: Tensor) -> None:
        """Write the rows (keys, width) of some keys as one shard.

        Raises:
            FeatureCacheError: A row is not finite in the cache's type, the disk is too small, or
                the folder cannot be written.
        """
        converted = rows.to(self.dtype).contiguous()
        if converted.is_floating_point() and not converted.isfinite().all():
            raise FeatureCacheError(
                f"features of {self.folder.name} do not fit {self.dtype}: set feature_store: null"
            )
        self._prepare(converted.nbytes)
        try:
            file = write_shard(self.folder, keys, converted, self._digest)
        except OSError as error:
            raise self._write_error(error) from error
        self._map_own(file)

    def fill(
        self,
        sources: Mapping[str, _Source],
        load: Callable[[Sequence[_Source]], _Loaded],
        compute: Callable[[_Loaded], Tensor],
        batch_size: int = FILL_BATCH,
    ) -> None:
        """Compute the missing rows, each process its share, and wait for all of them.

        Args:
            sources: What each key's row is computed from.
            load: Reads several sources, in a thread beside the computation.
            compute: Returns the rows (sources, width) of what was read.
            batch_size: Number of sources that are computed together.

        Raises:
            FeatureCacheError: Rows are missing, and the folder cannot be written, which is found
                before anything is computed.
        """
        rank, world_size = rank_and_world_size()
        # the share is one of all sources: others may have written since this process looked
        share = list(sources)[rank::world_size]
        self._fill(self._missing(share), sources, load, compute, batch_size)
        if world_size > 1:
            dist.barrier()
            self.refresh()
            # the other shares of another machine may lie on that machine's own disk
            self._fill(self._missing(sources), sources, load, compute, batch_size)

    def _missing(self, keys: Iterable[str]) -> list[str]:
        """Return the keys that have no row."""
        return [key for key in keys if key not in self]

    def _fill(
        self,
        missing: Sequence[str],
        sources: Mapping[str, _Source],
        load: Callable[[Sequence[_Source]], _Loaded],
        compute: Callable[[_Loaded], Tensor],
        batch_size: int,
    ) -> None:
        """Compute the rows of the missing keys and write them, a shard at a time."""
        if missing:
            self._prepare()
        starts = range(0, len(missing), batch_size)
        batches = [missing[start : start + batch_size] for start in starts]
        loaded = prefetch(lambda keys: load([sources[key] for key in keys]), batches)
        pending_keys: list[str] = []
        pending_rows: list[Tensor] = []
        for keys, content in self._with_progress(loaded, len(batches), len(missing), len(sources)):
            pending_keys += keys
            pending_rows.append(compute(content).to("cpu", self.dtype))
            if sum(rows.nbytes for rows in pending_rows) >= _SHARD_BYTES:
                self.add(pending_keys, torch.cat(pending_rows))
                pending_keys, pending_rows = [], []
        if pending_keys:
            self.add(pending_keys, torch.cat(pending_rows))

    def _with_progress(
        self, loaded: Iterable[_Item], num_batches: int, num_missing: int, num_sources: int
    ) -> Iterable[_Item]:
        """Show progress on a terminal, or print one line elsewhere."""
        rank, _ = rank_and_world_size()
        console = PlainConsole(stderr=True)
        hidden = rank > 0 or not console.is_terminal
        if num_missing and rank == 0 and hidden:
            line = f"computing {self.folder.name}: {num_missing} of {num_sources}"
            console.print(line, soft_wrap=True)
        return track(
            loaded,
            escape(printable(self.folder.name)),
            total=num_batches,
            console=console,
            transient=True,
            disable=hidden,
        )

    def _list_folder(self) -> list[str]:
        """Return the sorted names in the folder, none if it does not exist.

        Raises:
            FeatureCacheError: The folder cannot be read.
        """
        try:
            return sorted(os.listdir(self.folder))
        except FileNotFoundError:
            return []
        except OSError as error:
            reason = error.strerror or error
            raise FeatureCacheError(
                f"{self.folder}: cannot be read ({reason}): {_WAY_OUT}"
            ) from error

    def _map(self, name: str, shard: Shard) -> None:
        """Add the rows of a shard.

        Raises:
            ForeignShard: The rows have another width than those of other shards.
        """
        for rows in self._shards.values():
            if rows.shape[1] != shard.rows.shape[1]:
                raise ForeignShard(f"rows of {shard.rows.shape[1]} for {rows.shape[1]} numbers")
            break
        self._shards[name] = shard.rows
        for row, key in enumerate(shard.keys):
            self._positions[key] = (name, row)

    def _map_own(self, file: Path) -> None:
        """Map a shard whose bytes this run has written or verified.

        Raises:
            FeatureCacheError: The file has been removed, or cannot be read any more.
        """
        try:
            self._map(file.name, read_shard(file, self._digest, self.dtype, verify=False))
        except (ForeignShard, OSError) as error:
            reason = getattr(error, "strerror", None) or error
            raise FeatureCacheError(f"{file}: cannot be read any more ({reason})") from error

    def _prepare(self, num_bytes: int = 0) -> None:
        """Make the folder and check that it can be written.

        Args:
            num_bytes: Bytes that are going to be written.

        Raises:
            FeatureCacheError: The folder cannot be written, or the disk is too small.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            remove_stale_partials(self.folder)
            identity = self.folder / "identity.json"
            if not identity.exists():
                atomic_write_text(identity, self._settings + "\n")
            probe = partial_path(self.folder / "probe")
            probe.touch()
            probe.unlink()
            free = shutil.disk_usage(self.folder).free
        except OSError as error:
            raise self._write_error(error) from error
        if num_bytes + _SPARE_BYTES > free:
            raise FeatureCacheError(
                f"{self.folder}: {free / 2**30:.1f} GiB are free on the disk, too little for the "
                f"store: {_WAY_OUT}"
            )

    def _write_error(self, error: OSError) -> FeatureCacheError:
        """Build the error for a folder that cannot be written."""
        reason = error.strerror or error
        return FeatureCacheError(f"{self.folder}: cannot be written ({reason}): {_WAY_OUT}")
