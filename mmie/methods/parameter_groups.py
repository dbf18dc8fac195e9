"""Parameter groups of the optimiser: three learning rates, each with and without weight decay."""

from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn

_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)


def build_parameter_groups(
    module: nn.Module,
    pretrained_modules: Iterable[nn.Module],
    head_modules: Iterable[nn.Module],
    learning_rates: Mapping[str, float],
    weight_decay: float,
) -> list[dict[str, Any]]:
    """Put every trainable parameter into exactly one group.

    Args:
        module: The method.
        pretrained_modules: Parts that train at the rate ``text``.
        head_modules: Parts that train at the rate ``head``. All others train at ``fusion``.
        learning_rates: The three rates by name.
        weight_decay: Weight decay of all but `undecayed_parameters`.

    Returns:
        The groups, named by their rate, with ``_no_decay`` behind it where nothing decays.
    """
    rate_names: dict[nn.Parameter, str] = {}
    for part in pretrained_modules:
        rate_names.update(dict.fromkeys(part.parameters(), "text"))
    for part in head_modules:
        rate_names.update(dict.fromkeys(part.parameters(), "head"))
    undecayed = undecayed_parameters(module)
    groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
    for parameter in module.parameters():
        if parameter.requires_grad:
            key = (rate_names.get(parameter, "fusion"), parameter in undecayed)
            groups.setdefault(key, []).append(parameter)
    return [
        {
            "name": f"{rate_name}_no_decay" if is_undecayed else rate_name,
            "params": parameters,
            "lr": learning_rates[rate_name],
            "weight_decay": 0.0 if is_undecayed else weight_decay,
        }
        for (rate_name, is_undecayed), parameters in groups.items()
    ]


def undecayed_parameters(module: nn.Module) -> set[nn.Parameter]:
    """Collect the parameters without weight decay.

    They are biases, all weights of norms and embeddings, and the parameters that a timm model
    itself exempts, such as the positions of a ViT.
    """
    undecayed: set[nn.Parameter] = set()
    for part in module.modules():
        exempt: set[str] = getattr(part, "no_weight_decay", set)()
        for name, parameter in part.named_parameters():
            if name in exempt:
                undecayed.add(parameter)
        is_norm_or_embedding = isinstance(part, (*_NORMS, nn.Embedding))
        for name, parameter in part.named_parameters(recurse=False):
            if is_norm_or_embedding or name.endswith("bias") or parameter.ndim < 2:
                undecayed.add(parameter)
    return undecayed
