"""Measurements of the GPU report: epochs, how busy the device is, bfloat16, and extraction.

Data and encoders are written by `write_workspace`: a demo corpus, and encoders with random weights.
"""

import contextlib
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import BertConfig

from mmie.data import DemoCorpus, MultimodalDataModule
from mmie.data.batching import Collator, InstanceDataset
from mmie.data.demo.writing import write_demo
from mmie.data.sampler import Draw
from mmie.inference import Extractor
from mmie.methods import ExtractionModule
from mmie.training.features.callback import FeatureCacheCallback
from mmie.types import Batch

_SAMPLE_MILLISECONDS = 100
_LEARNING_RATE = 3e-5


@dataclass(frozen=True, slots=True)
class ReportSize:
    """Sizes of data and models.

    Attributes:
        posts: Training posts, a multiple of four.
        batch_size: Posts of a batch.
        image_size: Height and width of a view in pixels.
        vision_backbone: Timm architecture of the backbone.
        text: Settings of the BERT that differ from BERT-base.
        steps: Steps that ``mmie benchmark`` measures.
        num_workers: Processes that read pictures ahead.
    """

    posts: int = 960
    batch_size: int = 16
    image_size: int = 224
    vision_backbone: str = "resnet50"
    text: dict[str, Any] = field(default_factory=dict)
    steps: int = 20
    num_workers: int = 8


FULL = ReportSize()
SMALL = ReportSize(
    posts=16,
    batch_size=4,
    image_size=64,
    vision_backbone="test_resnet",
    text={
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "vocab_size": 1000,
    },
    steps=1,
    num_workers=0,
)


class Epoch(NamedTuple):
    """Measurement of a training epoch.

    Attributes:
        seconds: Its time, without validation.
        busy: Share of the time in which the GPU computed; None where nvidia-smi does not tell.
    """

    seconds: float
    busy: float | None


class Agreement(NamedTuple):
    """Differences of a batch's loss and gradient in bfloat16 from those in float32.

    Attributes:
        loss: Difference of the losses, relative to that in float32.
        gradient: Norm of the difference of both gradients of all weights, relative to the norm of
            that in float32.
    """

    loss: float
    gradient: float


def write_workspace(folder: Path, size: ReportSize) -> None:
    """Write a demo corpus, with a text encoder of the given size."""
    count = max(4, size.posts // 16 * 4)
    write_demo(folder, train=size.posts, valid=count, test=size.posts, size=size.image_size)
    config = BertConfig(**size.text)
    config.save_pretrained(folder / "encoder")


def build_data(folder: Path, size: ReportSize) -> MultimodalDataModule:
    """Build the data module of a workspace for entities, set up for a fit."""
    data = MultimodalDataModule(
        DemoCorpus(folder),
        "ner",
        str(folder / "encoder"),
        batch_size=size.batch_size,
        image_size=size.image_size,
        num_workers=size.num_workers,
    )
    data.setup("fit")
    return data


def build_method(
    method: type[ExtractionModule], data: MultimodalDataModule, size: ReportSize
) -> ExtractionModule:
    """Build a method with random weights, which the same seed makes the same."""
    torch.manual_seed(0)
    settings: dict[str, Any] = {"vision_backbone": size.vision_backbone, "pretrained": False}
    return method(data.schema, text_encoder=str(data.tokenizer_source), **settings)


def fit_epoch(
    module: ExtractionModule,
    data: MultimodalDataModule,
    cache: Path,
    device: torch.device,
    precision: str = "bf16-mixed",
) -> Epoch:
    """Measure the third epoch of a fit, which finds its features in the cache.

    Args:
        module: The method.
        data: Its data.
        cache: Folder of the feature cache.
        device: Where to compute.
        precision: Lightning's name of the precision.
    """
    clock = _EpochClock(device)
    settings: dict[str, Any] = {"accelerator": device.type, "precision": precision}
    trainer = Trainer(
        devices=1,
        max_epochs=3,
        limit_val_batches=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[FeatureCacheCallback(cache), clock],
        **settings,
    )
    trainer.fit(module, data)
    return clock.epochs[-1]


def plain_epoch(
    module: ExtractionModule, data: MultimodalDataModule, device: torch.device, limit: int = 60
) -> float:
    """Measure an epoch of a plain loop over the same network.

    The loop computes in float32, decodes all pictures and runs the backbone in every step, draws
    random batches and steps with AdamW of torch.

    Args:
        module: The method.
        data: Its data.
        device: Where to compute.
        limit: Most steps; the time of a longer epoch is that of these steps times its length.

    Returns:
        Seconds.
    """
    instances = data.instances["train"]
    order = torch.randperm(len(instances), generator=torch.Generator().manual_seed(0))
    draws = []
    for indices in order.split(data.batch_size):
        draws.append(Draw(0, tuple(indices.tolist()), (True,) * len(indices)))
    collator = Collator(data.schema, data.tokenizer.pad_id, data.transform)
    loader: DataLoader[Batch] = DataLoader(
        InstanceDataset(instances, collator, None),
        sampler=draws[: limit + 1],
        batch_size=None,
        num_workers=data.num_workers,
        pin_memory=device.type == "cuda",
    )
    module.to(device).train()
    optimizer = torch.optim.AdamW(module.parameters(), lr=_LEARNING_RATE)
    start, steps = 0.0, 0
    for number, batch in enumerate(loader):
        if number == 1:  # the first step warms up
            start = _time(device)
        loss = training_loss(module, batch.to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps = number
    return (_time(device) - start) / steps * len(draws)


def training_loss(module: ExtractionModule, batch: Batch) -> Tensor:
    """Compute the loss that a method trains with, without logging it."""
    return torch.stack(list(module.training_losses(batch).values())).sum()


def compare_precisions(
    module: ExtractionModule, data: MultimodalDataModule, device: torch.device
) -> Agreement:
    """Compare loss and gradient of the first batch in bfloat16 with those in float32."""
    collator = Collator(data.schema, data.tokenizer.pad_id, data.transform)
    indices = range(data.batch_size)
    batch = collator([data.instances["train"][index] for index in indices], indices).to(device)
    module.to(device).eval()  # without dropout
    losses, gradients = [], []
    for halved in (False, True):
        module.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=halved):
            loss = training_loss(module, batch)
        loss.backward()
        parts = [part.grad.flatten() for part in module.parameters() if part.grad is not None]
        losses.append(loss.item())
        gradients.append(torch.cat(parts).double())
    module.zero_grad()
    exact, rounded = gradients
    distance = float((rounded - exact).norm() / exact.norm())
    return Agreement(abs(losses[1] - losses[0]) / abs(losses[0]), distance)


def extraction_rate(
    module: ExtractionModule, data: MultimodalDataModule, device: torch.device
) -> float:
    """Measure the posts per second of `Extractor` on the test split, pictures and crops included.

    A first pass over some of the posts is not counted.
    """
    content: dict[str, Any] = {
        "state_dict": module.state_dict(),
        "MultimodalDataModule": data.state_dict(),
    }
    module.on_save_checkpoint(content)
    with tempfile.TemporaryDirectory() as folder:
        torch.save(content, Path(folder) / "model.ckpt")
        extractor = Extractor.from_checkpoint(Path(folder) / "model.ckpt", device=str(device))
    posts = data.corpus.posts("test")
    extractor.extract(posts[: 2 * data.batch_size])
    start = _time(device)
    extractor.extract(posts)
    return len(posts) / (_time(device) - start)


class _EpochClock(Callback):
    """Clock of every training epoch, and of how busy the GPU is in it.

    Args:
        device: The device.

    Attributes:
        epochs: The epochs so far.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.epochs: list[Epoch] = []

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock and the sampling."""
        self._stack = contextlib.ExitStack()
        self._shares = self._stack.enter_context(sampled_utilisation(self.device))
        self._start = _time(self.device)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the epoch."""
        seconds = _time(self.device) - self._start
        self._stack.close()
        busy = statistics.mean(self._shares) if self._shares else None
        self.epochs.append(Epoch(seconds, busy))


@contextlib.contextmanager
def sampled_utilisation(device: torch.device, command: str = "nvidia-smi") -> Iterator[list[float]]:
    """Sample the share of time in which a GPU computes, with nvidia-smi.

    Args:
        device: The device.
        command: The program.

    Yields:
        A list that holds the samples, 0 to 1, once the context has ended; empty without a GPU or
        the program.
    """
    shares: list[float] = []
    if device.type != "cuda" or shutil.which(command) is None:
        yield shares
        return
    index = device.index or 0
    query = [f"--id={index}", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits"]
    arguments = [command, *query, f"--loop-ms={_SAMPLE_MILLISECONDS}"]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    try:
        yield shares
    finally:
        process.terminate()
        output, _ = process.communicate()
        for line in output.splitlines():
            with contextlib.suppress(ValueError):  # "[N/A]", or a line that was cut off
                shares.append(float(line) / 100)


def _time(device: torch.device) -> float:
    """Return the time at which a device has finished all work that was submitted."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()
