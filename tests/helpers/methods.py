"""Tiny data modules, modules, batches and trainers for tests of methods."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn

from mmie.data import DemoCorpus, MultimodalDataModule
from mmie.data.batching import Collator
from mmie.data.instances import Instance
from mmie.methods import ExtractionModule
from mmie.types import Batch, Schema, Task


def build_data(root: Path, task: Task, encoder: str, **settings) -> MultimodalDataModule:
    """Build and set up a data module over a demo corpus."""
    sizes = {"batch_size": 8, "max_tokens": 64, "image_size": 64, **settings}
    data = MultimodalDataModule(DemoCorpus(root), task, tokenizer=encoder, **sizes)
    data.setup("fit")
    data.setup("test")
    return data


def build_module(
    method: type[ExtractionModule], schema: Schema, encoder: str, seed: int = 0, **arguments
) -> ExtractionModule:
    """Build a method in eval mode, with random weights from a seed."""
    torch.manual_seed(seed)
    return method(schema, text_encoder=encoder, pretrained=False, **arguments).eval()


def perturb(module: ExtractionModule, seed: int = 0) -> ExtractionModule:
    """Add noise to a method's own layers, so that weights that start at 0 have an effect.

    The scores of hard gates get none, which might close a gate for all posts.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            is_hard_gate = name.startswith("fusions.") and ".score." in name
            if not name.startswith(("text.", "vision.", "head.")) and not is_hard_gate:
                parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return module


def make_batch(data: MultimodalDataModule, instances: Sequence[Instance], **changes) -> Batch:
    """Collate instances, and replace some fields of the batch."""
    batch = Collator(data.schema, data.tokenizer.pad_id)(instances, range(len(instances)))
    return replace(batch, **changes)


def distinct_instances(instances: Sequence[Instance], count: int) -> list[Instance]:
    """Return the first instances that differ in words and have a picture and a crop.

    Args:
        instances: Instances to choose from.
        count: Largest number of instances.
    """
    chosen = {}
    for instance in instances:
        if sum(view is not None for view in instance.views) > 1:
            chosen.setdefault(instance.post.words, instance)
    return list(chosen.values())[:count]


def instance_without_views(instance: Instance) -> Instance:
    """Return a copy of an instance without readable views."""
    return replace(instance, views=(None,) * len(instance.views))


def batch_without_views(batch: Batch) -> Batch:
    """Return a copy of a batch without readable views."""
    return replace(batch, pixels=None, view_mask=torch.zeros_like(batch.view_mask))


def random_pixels_like(pixels: Tensor, seed: int = 0) -> Tensor:
    """Draw uint8 pixels of the same shape."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, pixels.shape, dtype=torch.uint8, generator=generator)


def training_loss(module: ExtractionModule, batch: Batch, seed: int = 0) -> Tensor:
    """Compute the loss of a training step, with dropout drawn from a seed."""
    module.train()
    torch.manual_seed(seed)
    return module.training_step(batch, 0)


def task_loss(module: ExtractionModule, batch: Batch) -> float:
    """Compute the head's mean loss in eval mode."""
    module.eval()
    with torch.no_grad():
        return module.head.loss(module.encode(batch).states, batch).mean().item()


def train(module: ExtractionModule, batch: Batch, steps: int, seed: int = 0) -> None:
    """Train on one batch without a schedule, and leave the module in eval mode."""
    optimizer = torch.optim.AdamW(module.parameter_groups())
    for step in range(steps):
        optimizer.zero_grad()
        training_loss(module, batch, seed + step).backward()
        optimizer.step()
    module.eval()


def encode(module: ExtractionModule, batch: Batch) -> Tensor:
    """Compute states (batch, tokens, hidden) in eval mode, without a graph."""
    module.eval()
    with torch.no_grad():
        return module.encode(batch).states


def copy_state(module: nn.Module) -> dict[str, Tensor]:
    """Copy all parameters and buffers, also those that no checkpoint holds."""
    tensors = (*module.named_parameters(), *module.named_buffers())
    return {name: tensor.clone() for name, tensor in tensors}


def equal_states(left: dict[str, Tensor], right: dict[str, Tensor]) -> bool:
    """Tell whether two results of `copy_state` are equal bit for bit."""
    return left.keys() == right.keys() and all(
        torch.equal(tensor, right[name]) for name, tensor in left.items()
    )


def parameter_names(module: nn.Module) -> set[str]:
    """Return the names of a module's parameters."""
    return {name for name, _ in module.named_parameters()}


def parameters_without_gradient(module: nn.Module) -> list[str]:
    """Return the names of trainable parameters whose gradient is None or 0.

    Biases of keys are left out: they add the same number to all scores of a query, so that their
    gradient is 0 but for rounding.
    """
    names = []
    for name, parameter in module.named_parameters():
        has_gradient = parameter.grad is not None and parameter.grad.any()
        if parameter.requires_grad and not has_gradient and not name.endswith("key.bias"):
            names.append(name)
    return names


def parameter_rates(module: ExtractionModule) -> dict[nn.Parameter, float]:
    """Return the learning rate of every parameter that is in a group."""
    rates = {}
    for group in module.parameter_groups():
        rates.update(dict.fromkeys(group["params"], group["lr"]))
    return rates


def copy_shared_weights(module: ExtractionModule, source: ExtractionModule) -> ExtractionModule:
    """Copy the tensors of another module that have the same name and shape."""
    state = module.state_dict()
    for name, tensor in source.state_dict().items():
        if name in state and state[name].shape == tensor.shape:
            state[name] = tensor
    module.load_state_dict(state)
    return module


def build_trainer(folder: Path, **settings) -> Trainer:
    """Build a trainer on the CPU that neither prints nor writes by itself."""
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "accelerator": "cpu",
        "devices": 1,
    }
    return Trainer(default_root_dir=folder, **{**quiet, **settings})
