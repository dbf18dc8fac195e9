"""What tests of methods share: tiny data modules, modules, batches and trainers."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn

from mmie.data import DemoCorpus, MultimodalDataModule
from mmie.data.batching import Collator, Instance
from mmie.methods import ExtractionModule
from mmie.types import Batch, Schema, Task


def build_data(root: Path, task: Task, encoder: str, **settings) -> MultimodalDataModule:
    """A data module over a demo corpus, set up."""
    sizes = {"batch_size": 8, "max_tokens": 64, "image_size": 64, **settings}
    data = MultimodalDataModule(DemoCorpus(root), task, tokenizer=encoder, **sizes)
    data.setup("fit")
    data.setup("test")
    return data


def build_module(
    method: type[ExtractionModule], schema: Schema, encoder: str, seed: int = 0, **arguments
) -> ExtractionModule:
    """A method with random weights that the seed decides, in eval mode."""
    torch.manual_seed(seed)
    return method(schema, text_encoder=encoder, pretrained=False, **arguments).eval()


def perturb(module: ExtractionModule, seed: int = 0) -> ExtractionModule:
    """The method with noise added to its own layers, so that what starts silent or small takes part."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if not name.startswith(("text.", "vision.", "head.")):
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return module


def make_batch(data: MultimodalDataModule, instances: Sequence[Instance], **changes) -> Batch:
    """A batch of these instances."""
    batch = Collator(data.schema, data.tokenizer.pad_id)(instances, range(len(instances)))
    return replace(batch, **changes)


def instance_without_views(instance: Instance) -> Instance:
    """The instance with no view that can be read."""
    return replace(instance, views=(None,) * len(instance.views))


def distinct_instances(instances: Sequence[Instance], count: int) -> list[Instance]:
    """The first ``count`` instances that differ in words and have a picture and a crop, or fewer."""
    chosen = {}
    for instance in instances:
        if sum(view is not None for view in instance.views) > 1:
            chosen.setdefault(instance.post.words, instance)
    return list(chosen.values())[:count]


def batch_without_views(batch: Batch) -> Batch:
    """The batch with no view that can be read."""
    return replace(batch, pixels=None, view_mask=torch.zeros_like(batch.view_mask))


def random_pixels_like(pixels: Tensor, seed: int = 0) -> Tensor:
    """Random pixels."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, pixels.shape, dtype=torch.uint8, generator=generator)


def training_loss(module: ExtractionModule, batch: Batch, seed: int = 0) -> Tensor:
    """The loss of a training step, dropout on and drawn by the seed."""
    module.train()
    torch.manual_seed(seed)
    return module.training_step(batch, 0)


def task_loss(module: ExtractionModule, batch: Batch) -> float:
    """The head's mean loss, in eval mode."""
    module.eval()
    with torch.no_grad():
        return module.head.loss(module.encode(batch).states, batch).mean().item()


def train(module: ExtractionModule, batch: Batch, steps: int, seed: int = 0) -> None:
    """Steps of the method's own parameter groups on one batch, without a schedule; ends in eval mode."""
    optimizer = torch.optim.AdamW(module.parameter_groups())
    for step in range(steps):
        optimizer.zero_grad()
        training_loss(module, batch, seed + step).backward()
        optimizer.step()
    module.eval()


def encode(module: ExtractionModule, batch: Batch) -> Tensor:
    """States (batch, tokens, hidden) in eval mode, without a graph."""
    module.eval()
    with torch.no_grad():
        return module.encode(batch).states


def copy_state(module: nn.Module) -> dict[str, Tensor]:
    """Copies of all parameters and buffers, those that no checkpoint keeps included."""
    return {
        name: value.clone() for name, value in (*module.named_parameters(), *module.named_buffers())
    }


def equal_states(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    """Whether two snapshots are equal bit for bit."""
    return left.keys() == right.keys() and all(
        torch.equal(value, right[name]) for name, value in left.items()
    )


def build_trainer(folder: Path, **settings) -> Trainer:
    """A quiet trainer on the CPU that writes nothing by itself."""
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    quiet |= {
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "accelerator": "cpu",
        "devices": 1,
    }
    return Trainer(default_root_dir=folder, **{**quiet, **settings})
