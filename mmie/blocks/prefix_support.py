"""Which text encoders read a prefix of keys and values, and why others do not."""

from torch import nn
from transformers import PreTrainedModel

_OWN_DISTANCES = (
    "its disentangled attention scores a key by its distance to the token, and a prefix has none"
)
_SHARED_LAYERS = "its layers share one attention, and each layer has its own prefix"
_REASONS = {
    "albert": _SHARED_LAYERS,
    "deberta": _OWN_DISTANCES,
    "deberta-v2": _OWN_DISTANCES,
    "mpnet": "its attention adds a bias for the distance of two tokens, and a prefix has none",
}
"""Obstacles that lie in the architecture, by type of encoder."""
_OWN_ATTENTION = "its layers have an attention of their own, which takes no keys from outside"


def number_attention(model: PreTrainedModel) -> None:
    """Give each layer's attention the ``layer_idx`` that selects its prefix, if none has one.

    DistilBERT passes a prefix on and has no indices. Layers that share an attention get none.
    """
    attentions: list[nn.Module] = []
    for module in model.modules():
        if hasattr(module, "layer_idx"):
            return
        if hasattr(module, "is_causal"):
            attentions.append(module)
    if len(attentions) == model.config.num_hidden_layers:
        for index, attention in enumerate(attentions):
            attention.layer_idx = index  # type: ignore[assignment]


def prefix_obstacle(model: PreTrainedModel) -> str | None:
    """Return why an encoder would ignore a prefix, or None if it reads prefixes.

    It reads them if its attention is transformers' attention interface, and every layer has the
    ``layer_idx`` that selects its keys and values.
    """
    indices = {module.layer_idx for module in model.modules() if hasattr(module, "layer_idx")}
    has_indices = indices == set(range(model.config.num_hidden_layers))
    if model.is_backend_compatible() and has_indices:
        return None
    return _REASONS.get(model.config.model_type, _OWN_ATTENTION)
