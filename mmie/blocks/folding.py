"""Faster copies of frozen backbones: batch norms folded into convolutions, channels last in memory.

In eval mode a batch norm is an affine map of each channel, so that a convolution before it can have
the product of both maps for weights:

    BN(W * x + b) = (gamma / s) W * x + gamma (b - mean) / s + beta,  s = sqrt(var + eps)

Source: Jacob et al., Quantization and Training of Neural Networks, CVPR 2018, Equation 14.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

_Pair = tuple[str, str]
"""Names of a convolution and of the batch norm that follows it."""


@torch.inference_mode(False)
@torch.no_grad()
def fold_batch_norms(model: nn.Module, example: Tensor) -> nn.Module:
    """Return a model that computes the same as another one in eval mode in less time.

    Args:
        model: A network of a floating type in eval mode, which is not changed.
        example: Input (batch, channels, height, width) that shows which batch norm follows which
            convolution.

    Returns:
        A copy without the batch norms that follow convolutions; the model itself if it has none, or
        if its output would change, as it does where a convolution has another reader.
    """
    pairs = _find_pairs(model, example)
    if not pairs:
        return model
    folded = copy.deepcopy(model)
    for conv_name, norm_name in pairs:
        conv, norm = folded.get_submodule(conv_name), folded.get_submodule(norm_name)
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        fused = fuse_conv_bn_eval(conv, norm)
        _replace(folded, conv_name, fused)
        # timm's batch norms hold the dropout and the activation that follow them
        followers = (getattr(norm, name, nn.Identity()) for name in ("drop", "act"))
        _replace(folded, norm_name, nn.Sequential(*followers))
    expected, computed = model(example), folded(example)
    if not torch.allclose(computed, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max())):
        return model
    return folded.to(memory_format=torch.channels_last)


def _find_pairs(model: nn.Module, example: Tensor) -> list[_Pair]:
    """Find the convolutions whose output one batch norm receives, by running the model."""
    conv_of_output: dict[int, str] = {}
    kept: list[Tensor] = []  # an id may be given to another tensor once the first is freed
    calls: dict[str, int] = {}
    pairs: list[_Pair] = []
    hooks = []

    def watch(name: str, part: nn.Module) -> None:
        def record(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            calls[name] = calls.get(name, 0) + 1
            if isinstance(module, nn.Conv2d):
                conv_of_output[id(output)] = name
                kept.append(output)
            elif id(inputs[0]) in conv_of_output:
                pairs.append((conv_of_output.pop(id(inputs[0])), name))

        hooks.append(part.register_forward_hook(record))

    for name, part in model.named_modules():
        if isinstance(part, nn.Conv2d | nn.BatchNorm2d):
            watch(name, part)
    try:
        model(example)
    finally:
        for hook in hooks:
            hook.remove()
    return [pair for pair in pairs if calls[pair[0]] == calls[pair[1]] == 1]


def _replace(model: nn.Module, name: str, part: nn.Module) -> None:
    """Put a module in the place of the submodule of a name."""
    parent, _, attribute = name.rpartition(".")
    setattr(model.get_submodule(parent), attribute, part)
