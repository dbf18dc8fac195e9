"""What never changes, computed once: rows of numbers on disk, by the content that they were computed from.

A store is a folder of shards. A shard is a safetensors file that holds the rows of some pictures or texts and, as
metadata, what each row belongs to; its name is the SHA-256 of its bytes. It is written under another name and renamed
when it is whole, so that what was done before an interruption stays done, processes that write at the same time do not
meet, and a file whose bytes are not what its name says is found, removed and computed again.
"""

import contextlib
import hashlib
import json
import shutil
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from rich.console import Console
from rich.progress import track
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from mmie.types import MmieError
from mmie.utils.distributed import rank_and_world_size
from mmie.utils.files import atomic_write_by_digest, atomic_write_text, digest_file
from mmie.utils.prefetch import prefetch

_T = TypeVar("_T")
_U = TypeVar("_U")
FILL_BATCH = 32
"""Sources that are computed together."""
_SHARD_BYTES = 64 * 2**20
_STALE_SECONDS = 24 * 3600
_SPARE_BYTES = 2**30
"""Disk space that a store leaves free."""


class FeatureCacheError(MmieError, RuntimeError):
    """Rows that cannot be kept as they were asked to be, or a disk that is too small for them."""


class FeatureCache:
    """Rows of one kind, memory-mapped.

    Args:
        root: Folder of all stores.
        name: What a reader of the folder should see.
        identity: All that a row depends on beside the content it was computed from; another identity is another store.
        dtype: Type that rows are kept in.
    """

    def __init__(
        self, root: Path, name: str, identity: Mapping[str, Any], dtype: torch.dtype = torch.float16
    ) -> None:
        settings = json.dumps(
            {**identity, "dtype": str(dtype)}, indent=2, sort_keys=True, default=str
        )
        self.folder = root / f"{name}-{hashlib.sha256(settings.encode()).hexdigest()[:16]}"
        self.dtype = dtype
        self._shards: dict[str, Tensor] = {}  # (rows, width) each
        self._places: dict[str, tuple[str, int]] = {}
        self.folder.mkdir(parents=True, exist_ok=True)
        self._remove_partials()
        atomic_write_text(self.folder / "identity.json", settings + "\n")
        self.refresh()

    def __contains__(self, key: str) -> bool:
        return key in self._places

    def __len__(self) -> int:
        return len(self._places)

    def __getstate__(self) -> dict[str, Any]:
        """All but the rows: a worker process maps the files itself."""
        return {**self.__dict__, "_shards": {}, "_places": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._map_new_shards(verify=False)

    def refresh(self) -> None:
        """Take in the shards that were written since, by this process or others; remove damaged ones."""
        self._map_new_shards(verify=True)

    def rows(self, keys: Sequence[str | None]) -> Tensor:
        """The rows of some contents, (keys, width); 0 where the key is None.

        Raises:
            KeyError: A key has no row.
            FeatureCacheError: No key is given, so that no width is known.
        """
        places = [None if key is None else self._places[key] for key in keys]
        if not self._shards:
            raise FeatureCacheError(f"{self.folder} holds no rows yet")
        width = next(iter(self._shards.values())).shape[1]
        rows = torch.zeros(len(keys), width, dtype=self.dtype)
        for row, place in enumerate(places):
            if place is not None:
                rows[row] = self._shards[place[0]][place[1]]
        return rows

    def add(self, keys: Sequence[str], rows: Tensor) -> None:
        """Write the rows (keys, width) of some contents as one shard.

        Raises:
            FeatureCacheError: A row is not finite in the store's type, or the disk is too small.
        """
        kept = rows.to(self.dtype).contiguous()
        if kept.is_floating_point() and not kept.isfinite().all():
            raise FeatureCacheError(
                f"features of {self.folder.name} do not fit {self.dtype}: set feature_store: null"
            )
        self._check_space(kept.nbytes)
        names = {"keys": json.dumps(list(keys))}
        atomic_write_by_digest(
            self.folder, ".safetensors", lambda file: save_file({"rows": kept}, file, names)
        )
        self._map_new_shards(verify=False)

    def fill(
        self,
        sources: Mapping[str, _T],
        load: Callable[[Sequence[_T]], _U],
        compute: Callable[[_U], Tensor],
        batch_size: int = FILL_BATCH,
    ) -> None:
        """Compute what is missing, each process its share, and wait until all is there.

        Args:
            sources: What each key is computed from.
            load: Reads a few sources, in a thread beside the computation.
            compute: (sources, width) of what was read.
            batch_size: Sources that are computed together.
        """
        rank, world = rank_and_world_size()
        share = list(sources)[
            rank::world
        ]  # of all: others may have written since this process looked
        self._fill([key for key in share if key not in self], sources, load, compute, batch_size)
        if world > 1:
            dist.barrier()
            self.refresh()  # other machines may have stores of their own, which hold their shares
            self._fill(
                [key for key in sources if key not in self], sources, load, compute, batch_size
            )

    def _fill(
        self,
        missing: Sequence[str],
        sources: Mapping[str, _T],
        load: Callable[[Sequence[_T]], _U],
        compute: Callable[[_U], Tensor],
        batch_size: int,
    ) -> None:
        """Compute the rows of these keys."""
        rank, _ = rank_and_world_size()
        batches = [
            missing[start : start + batch_size] for start in range(0, len(missing), batch_size)
        ]
        console = Console(stderr=True)
        hidden = rank > 0 or not console.is_terminal
        if missing and rank == 0 and hidden:
            console.print(
                f"computing {self.folder.name}: {len(missing)} of {len(sources)}", soft_wrap=True
            )
        loaded = prefetch(lambda keys: load([sources[key] for key in keys]), batches)
        waiting: list[tuple[Sequence[str], Tensor]] = []
        shown = track(
            loaded,
            self.folder.name,
            total=len(batches),
            console=console,
            transient=True,
            disable=hidden,
        )
        for keys, content in shown:
            waiting.append((keys, compute(content).to("cpu", self.dtype)))
            if sum(rows.nbytes for _, rows in waiting) >= _SHARD_BYTES:
                self._add_all(waiting)
                waiting = []
        self._add_all(waiting)

    def _add_all(self, parts: Sequence[tuple[Sequence[str], Tensor]]) -> None:
        """Write several batches of rows as one shard."""
        if parts:
            self.add(
                [key for keys, _ in parts for key in keys], torch.cat([rows for _, rows in parts])
            )

    def _map_new_shards(self, verify: bool) -> None:
        """Map the files that are not mapped yet; remove what is damaged."""
        for file in sorted(self.folder.glob("*.safetensors")):
            if file.name in self._shards:
                continue
            try:
                if verify and digest_file(file) != file.stem:
                    raise ValueError("its bytes are not what was written")
                with safe_open(file, framework="pt") as shard:
                    keys, rows = json.loads(shard.metadata()["keys"]), shard.get_tensor("rows")
            except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
                warnings.warn(f"{file} is damaged ({error}) and is computed again", stacklevel=2)
                file.unlink(missing_ok=True)
                continue
            self._shards[file.name] = rows
            self._places.update((key, (file.name, row)) for row, key in enumerate(keys))

    def _remove_partials(self) -> None:
        """Remove what processes left half written that were killed a day ago or earlier."""
        for file in self.folder.glob(".*.partial*"):
            with contextlib.suppress(OSError):  # another process removed it
                if time.time() - file.stat().st_mtime > _STALE_SECONDS:
                    file.unlink()

    def _check_space(self, needed: int) -> None:
        """Refuse to fill the disk."""
        free = shutil.disk_usage(self.folder).free
        if needed + _SPARE_BYTES > free:
            raise FeatureCacheError(
                f"{self.folder}: {free / 2**30:.1f} GiB are free on the disk, too little for the store: name another "
                "folder by feature_store, or set feature_store: null"
            )
