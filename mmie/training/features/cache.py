"""Content-addressed feature cache: rows on disk, by the content that they were computed from.

A cache is a folder of shards. A shard is a safetensors file that holds the rows of some pictures or
texts and, as metadata, the key of each row; its name is the SHA-256 of its bytes. It is written
under a temporary name and renamed, so that an interrupted fill continues where it stopped, several
processes can fill one cache, and a damaged shard is found, removed and computed again.
"""

import contextlib
import hashlib
import json
import shutil
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from rich.markup import escape
from rich.progress import track
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mmie.types import MmieError
from mmie.utils.distributed import rank_and_world_size
from mmie.utils.files import atomic_write_by_digest, atomic_write_text, digest_file
from mmie.utils.prefetch import prefetch
from mmie.utils.terminal import PlainConsole, printable

_Source = TypeVar("_Source")
_Loaded = TypeVar("_Loaded")
_Item = TypeVar("_Item")
FILL_BATCH = 32
"""Number of sources that are computed together."""
_SHARD_BYTES = 64 * 2**20
_STALE_SECONDS = 24 * 3600
_SPARE_BYTES = 2**30
"""Disk space that a cache leaves free."""


class FeatureCacheError(MmieError, RuntimeError):
    """Rows that do not fit the cache's type, or a disk that is too small for them."""


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
        settings = json.dumps(full_identity, indent=2, sort_keys=True, default=str)
        digest = hashlib.sha256(settings.encode()).hexdigest()
        self.folder = root / f"{name}-{digest[:16]}"
        self.dtype = dtype
        self._shards: dict[str, Tensor] = {}  # (rows, width) each
        self._positions: dict[str, tuple[str, int]] = {}  # shard and row of each key
        self.folder.mkdir(parents=True, exist_ok=True)
        self._remove_partial_files()
        atomic_write_text(self.folder / "identity.json", settings + "\n")
        self.refresh()

    def __contains__(self, key: str) -> bool:
        return key in self._positions

    def __len__(self) -> int:
        return len(self._positions)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the rows: a worker process maps the files itself."""
        return {**self.__dict__, "_shards": {}, "_positions": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._map_new_shards(verify=False)

    def refresh(self) -> None:
        """Map the shards that this process or others have written, and remove damaged ones."""
        self._map_new_shards(verify=True)

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
            FeatureCacheError: A row is not finite in the cache's type, or the disk is too small.
        """
        converted = rows.to(self.dtype).contiguous()
        if converted.is_floating_point() and not converted.isfinite().all():
            raise FeatureCacheError(
                f"features of {self.folder.name} do not fit {self.dtype}: set feature_store: null"
            )
        self._check_space(converted.nbytes)
        metadata = {"keys": json.dumps(list(keys))}
        atomic_write_by_digest(
            self.folder,
            ".safetensors",
            lambda file: save_file({"rows": converted}, file, metadata),
        )
        self._map_new_shards(verify=False)

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

    def _map_new_shards(self, verify: bool) -> None:
        """Map the files that are not mapped yet, and remove damaged ones.

        Args:
            verify: Whether to compare the bytes of each file with its name.
        """
        for file in sorted(self.folder.glob("*.safetensors")):
            if file.name in self._shards:
                continue
            try:
                if verify and digest_file(file) != file.stem:
                    raise ValueError("its bytes are not what was written")
                with safe_open(file, framework="pt") as shard:
                    keys = json.loads(shard.metadata()["keys"])
                    rows = shard.get_tensor("rows")  # (rows, width)
            except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
                warnings.warn(f"{file} is damaged ({error}) and is computed again", stacklevel=2)
                file.unlink(missing_ok=True)
                continue
            self._shards[file.name] = rows
            for row, key in enumerate(keys):
                self._positions[key] = (file.name, row)

    def _remove_partial_files(self) -> None:
        """Remove files that processes left half written a day ago or earlier."""
        for file in self.folder.glob(".*.partial*"):
            with contextlib.suppress(OSError):  # another process has removed it
                if time.time() - file.stat().st_mtime > _STALE_SECONDS:
                    file.unlink()

    def _check_space(self, num_bytes: int) -> None:
        """Raise if a shard would fill the disk.

        Raises:
            FeatureCacheError: The disk is too small.
        """
        free = shutil.disk_usage(self.folder).free
        if num_bytes + _SPARE_BYTES > free:
            raise FeatureCacheError(
                f"{self.folder}: {free / 2**30:.1f} GiB are free on the disk, too little for the "
                "store: name another folder by feature_store, or set feature_store: null"
            )
