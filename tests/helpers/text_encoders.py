"""Tiny text encoders of several families, their inputs and prefixes."""

from pathlib import Path

import torch
from transformers import AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel

from mmie.blocks.prefix_attention import Prefix

LAYERS, HEADS, HEAD, TOKENS = 2, 2, 4, 6
SHAPE = {
    "hidden_size": HEADS * HEAD,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": 12,
    "vocab_size": 30,
    "max_position_embeddings": 16,
}
FAMILIES = {
    "bert": {"model_type": "bert", **SHAPE},
    "roberta": {"model_type": "roberta", "type_vocab_size": 1, **SHAPE},
    "xlm-roberta": {"model_type": "xlm-roberta", "type_vocab_size": 1, **SHAPE},
}
BERT = FAMILIES["bert"]
SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "vocab_size": 80,
    "max_position_embeddings": 80,
    "attention_probs_dropout_prob": 0.0,
    "hidden_dropout_prob": 0.0,
    "pad_token_id": 0,
}
"""Sizes of encoders in tests of whole methods, which every family of encoders takes."""


def make_config(settings: dict) -> PretrainedConfig:
    """Make a configuration of its settings."""
    return AutoConfig.for_model(**settings)


def save_text_model(
    folder: Path, settings: dict = BERT, dtype: torch.dtype = torch.float32
) -> PreTrainedModel:
    """Save a random model in a folder as transformers does, and return it."""
    torch.manual_seed(7)
    model = AutoModel.from_config(make_config(settings)).to(dtype).eval()
    model.save_pretrained(folder)
    return model


def make_text(
    tokens: int = TOKENS, batch: int = 2, segments: int = 0
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Make random ids, a mask without padding, and equal token types, (batch, tokens) each."""
    ids = torch.randint(5, 30, (batch, tokens), generator=torch.Generator().manual_seed(0))
    return ids, torch.ones_like(ids, dtype=torch.bool), torch.full_like(ids, segments)


def make_prefix(
    layers: int = LAYERS, heads: int = HEADS, size: int = HEAD, length: int = 3
) -> Prefix:
    """Make a random prefix for a batch of 2."""
    return Prefix(*torch.randn(2, layers, 2, heads, length, size))


def assert_short_line(error: BaseException) -> None:
    """Assert that an error's message is one line of fewer than 500 characters."""
    assert "\n" not in str(error)
    assert len(str(error)) < 500
