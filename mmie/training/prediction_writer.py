"""The callback that writes predictions."""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer

from mmie.data.instances import Instance
from mmie.data.long_posts import merge_windows
from mmie.runs.metrics import COUNT, DIGEST, INSTANCES
from mmie.runs.picture_tests import picture_suffix, predictions_file
from mmie.runs.predictions import prediction_line
from mmie.training.trainers import is_writer, pictures_of
from mmie.types import Batch, Prediction
from mmie.utils.distributed import rank_and_world_size
from mmie.utils.files import atomic_write


class PredictionWriter(Callback):
    """Writes ``predictions.jsonl`` after a test, and ``unscored.jsonl`` after a predict.

    The file has a line for every instance of the split, in its order. The windows of a long post
    have one line together, with their entities merged as extraction merges them.

    Attributes:
        written: Number of predictions, number of instances of the split, and SHA-256 of the file,
            by the names of `mmie.runs.metrics`. Empty before a file is written.
    """

    def __init__(self) -> None:
        self.written: dict[str, Any] = {}
        self._predictions: dict[int, Prediction] = {}

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Collect a batch's predictions."""
        self._collect(batch, outputs["predictions"])

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Collect a batch's predictions."""
        self._collect(batch, outputs)

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the predictions of all processes."""
        self._write(trainer, scored=True)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the predictions of all processes."""
        self._write(trainer, scored=False)

    def _collect(self, batch: Batch, predictions: list[Prediction]) -> None:
        """Remember predictions by their index in the split, without uncounted copies."""
        rows = zip(batch.index.tolist(), batch.counted.tolist(), predictions, strict=True)
        for index, is_counted, prediction in rows:
            if is_counted:
                self._predictions[index] = prediction

    def _write(self, trainer: Trainer, scored: bool) -> None:
        """Gather the predictions of all processes and write them."""
        predictions = _gather(self._predictions)
        self._predictions = {}
        if not is_writer(trainer):
            return
        instances = trainer.datamodule.instances["test"]  # type: ignore[attr-defined]
        posts = group_windows(instances)
        lines = []
        for indices in posts:
            if all(index in predictions for index in indices):
                own = [predictions[index] for index in indices]
                lines.append(_line([instances[index] for index in indices], own))
        folder = Path(trainer.default_root_dir)
        file = predictions_file(folder, picture_suffix(folder, pictures_of(trainer)), scored)
        content = "".join(f"{line}\n" for line in lines).encode()
        atomic_write(file, lambda partial: partial.write_bytes(content))
        self.written = {
            COUNT: len(lines),
            INSTANCES: len(posts),
            DIGEST: hashlib.sha256(content).hexdigest(),
        }


def group_windows(instances: Sequence[Instance]) -> list[list[int]]:
    """Return the indices of the instances of each post or relation: several for its windows."""
    groups: list[list[int]] = []
    for index, instance in enumerate(instances):
        window = instance.window
        if window is not None and window.start > 0:  # the one before is of the same post
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def _line(instances: Sequence[Instance], predictions: Sequence[Prediction]) -> str:
    """Return the line of a whole post or a relation, or of all windows of a post."""
    windows = [instance.window for instance in instances if instance.window is not None]
    if not windows:
        return prediction_line(instances[0].post, instances[0].relation, predictions[0])
    post = windows[0].post
    return prediction_line(post, None, merge_windows(windows, predictions, post.id))


def _gather(predictions: dict[int, Prediction]) -> dict[int, Prediction]:
    """Return the predictions of all processes."""
    _, world_size = rank_and_world_size()
    if world_size == 1:
        return predictions
    shares: list[dict[int, Prediction]] = [{} for _ in range(world_size)]
    dist.all_gather_object(shares, predictions)
    gathered: dict[int, Prediction] = {}
    for share in shares:
        gathered.update(share)
    return gathered
