"""Parameter groups of the optimiser: three learning rates, each with and without weight decay.

The rate of text layers may decay from the highest to the lowest (Howard & Ruder, ACL 2018, Section
3.2).
"""

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
    text_lr_decay: float = 1.0,
    text_depths: Mapping[nn.Parameter, int] | None = None,
) -> list[dict[str, Any]]:
    """Put every trainable parameter into exactly one group.

    Args:
        module: The method.
        pretrained_modules: Parts that train at the rate ``text``.
        head_modules: Parts that train at the rate ``head``. All others train at ``fusion``.
        learning_rates: The three rates by name.
        weight_decay: Weight decay of all but `undecayed_parameters`.
        text_lr_decay: Factor of the rate for each layer above a parameter.
        text_depths: Number of layers above each parameter of the text encoder, 0 where it is
            missing.

    Returns:
        The groups, named by their rate, with ``_below_<depth>`` behind it for parameters below
        other layers and ``_no_decay`` where nothing decays.
    """
    rate_names: dict[nn.Parameter, str] = {}
    for part in pretrained_modules:
        rate_names.update(dict.fromkeys(part.parameters(), "text"))
    for part in head_modules:
        rate_names.update(dict.fromkeys(part.parameters(), "head"))
    undecayed = undecayed_parameters(module)
    depths = text_depths or {}
    groups: dict[tuple[str, int, bool], list[nn.Parameter]] = {}
    for parameter in module.parameters():
        if parameter.requires_grad:
            rate_name = rate_names.get(parameter, "fusion")
            key = (rate_name, depths.get(parameter, 0), parameter in undecayed)
            groups.setdefault(key, []).append(parameter)
    described = []
    for (rate_name, depth, is_undecayed), parameters in groups.items():
        below = f"_below_{depth}" if depth else ""
        described.append(
            {
                "name": f"{rate_name}{below}_no_decay" if is_undecayed else f"{rate_name}{below}",
                "params": parameters,
                "lr": learning_rates[rate_name] * text_lr_decay**depth,
                "weight_decay": 0.0 if is_undecayed else weight_decay,
            }
        )
    return described


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
