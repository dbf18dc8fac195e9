"""The text encoder that all methods share: any Hugging Face encoder that honours the attention interface."""

import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel

from mmie.blocks.dropout import use_cheap_dropout
from mmie.blocks.errors import EncoderUnsuited, WeightsUnavailable
from mmie.blocks.prefix_attention import PREFIX_ATTENTION, Prefix


class TextEncoder(nn.Module):
    """A pretrained transformer with room for prefixes.

    Args:
        source: A hub name, a local folder, or a configuration as a mapping (then ``pretrained`` must be false).
        pretrained: Load weights; false builds the model from its configuration alone, randomly initialised.
        vocab_size: Tokens of the tokenizer; the embedding grows to it, never shrinks. None leaves it as it is.
        frozen: No gradients for its weights, and eval mode always.
        gradient_checkpointing: Recompute activations in the backward pass: less memory, about a third more time.

    Raises:
        WeightsUnavailable: The source is no folder here and cannot be had from the hub, or its files do not make a
            whole model.
        ValueError: The source is a mapping without a known ``model_type``, or is to be loaded with weights.
        EncoderUnsuited: The encoder cannot recompute its activations.
    """

    def __init__(
        self,
        source: str | Path | Mapping[str, Any],
        pretrained: bool = True,
        vocab_size: int | None = None,
        frozen: bool = False,
        gradient_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        self.model = _load(source, pretrained)
        if getattr(self.model, "pooler", None) is not None:
            self.model.pooler = None  # type: ignore[assignment]  # unread; a weight without gradient is never right
        use_cheap_dropout(self.model)
        if vocab_size is not None and vocab_size > int(self.config.vocab_size):
            self.model.resize_token_embeddings(vocab_size, mean_resizing=False)
        if gradient_checkpointing:
            if not self.model.supports_gradient_checkpointing:
                raise EncoderUnsuited(
                    f"text encoder of type '{self.config.model_type}' cannot recompute its activations: "
                    "set gradient_checkpointing: false"
                )
            self.model.gradient_checkpointing_enable({"use_reentrant": False})
        self.frozen = frozen
        self.model.requires_grad_(not frozen)
        self.train()  # transformers hands out loaded models in eval mode, and Lightning leaves modes alone

    @property
    def config(self) -> PretrainedConfig:
        """The encoder's configuration; enough to build it again without weights."""
        return self.model.config

    @property
    def hidden_size(self) -> int:
        """Width of the states (d)."""
        return int(self.config.hidden_size)

    @property
    def num_layers(self) -> int:
        """Number of layers (N)."""
        return int(self.config.num_hidden_layers)

    @property
    def num_heads(self) -> int:
        """Attention heads of a layer."""
        return int(self.config.num_attention_heads)

    @property
    def has_segments(self) -> bool:
        """Whether the encoder tells a second segment from the first."""
        return int(getattr(self.config, "type_vocab_size", 1)) > 1

    @property
    def max_positions(self) -> int:
        """Most tokens the encoder has positions for."""
        return int(self.config.max_position_embeddings) - self._first_position

    @property
    def _first_position(self) -> int:
        """Position id of the first token: 0, but in RoBERTa's family the first ids belong to padding."""
        padding = getattr(getattr(self.model, "embeddings", None), "padding_idx", None)
        return 0 if padding is None else int(padding) + 1

    def train(self, mode: bool = True) -> "TextEncoder":
        """Training mode, unless frozen."""
        return super().train(mode and not self.frozen)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor,
        prefix: Prefix | None = None,
        position_shift: int = 0,
    ) -> Tensor:
        """States of the tokens; position ids are not shifted by the prefix unless asked for.

        Args:
            input_ids: (batch, tokens)
            attention_mask: (batch, tokens) bool
            token_type_ids: (batch, tokens); ignored by encoders that know one segment only.
            prefix: Keys and values for every layer.
            position_shift: Positions that the text starts later.

        Returns:
            (batch, tokens, hidden)

        Raises:
            EncoderUnsuited: There is a prefix that the encoder would not read.
            ValueError: The prefix does not fit the encoder, or the text is longer than its positions.
        """
        self._check_length(input_ids.shape[1] + position_shift)
        extra: dict[str, Any] = {}
        if self.has_segments:
            extra["token_type_ids"] = token_type_ids
        if prefix is not None:
            self._check(prefix)
            extra["prefix"] = prefix
        if position_shift:
            extra["position_ids"] = self._positions(attention_mask) + position_shift
        mask = self.layer_mask(attention_mask)
        states: Tensor = self.model(
            input_ids=input_ids, attention_mask=mask, **extra
        ).last_hidden_state
        return states

    def layer_mask(self, attention_mask: Tensor) -> Tensor:
        """The mask that every layer takes: (batch, 1, tokens, tokens) bool, made here.

        Transformers would look first whether anything is masked at all, for which a GPU has to be waited for. Encoders
        with masks of their own, or one for each kind of layer, are left (batch, tokens).
        """
        if (
            not self.model.is_backend_compatible()
            or getattr(self.config, "sliding_window", None) is not None
        ):
            return attention_mask
        return attention_mask[:, None, None, :].expand(-1, -1, attention_mask.shape[1], -1)

    def check_reads_prefix(self) -> None:
        """Refuse an encoder whose layers never see a prefix.

        Raises:
            EncoderUnsuited: It is one.
        """
        if not (
            self.model.is_backend_compatible() and _numbers_its_layers(self.model, self.num_layers)
        ):
            raise EncoderUnsuited(
                f"text encoder of type '{self.config.model_type}' hands no prefix on to its layers: "
                "use one of the BERT, RoBERTa, XLM-R, ELECTRA or ModernBERT families"
            )

    def _positions(self, attention_mask: Tensor) -> Tensor:
        """Position ids of the tokens, (batch, tokens)."""
        return (attention_mask.long().cumsum(1) - 1).clamp(min=0) + self._first_position

    def _check_length(self, end: int) -> None:
        """Refuse what would index past the position embeddings, which a GPU reports long after and unreadably."""
        if end > self.max_positions:
            raise ValueError(
                f"the text takes positions up to {end}, text encoder has {self.max_positions}: lower data.max_tokens"
            )

    def _check(self, prefix: Prefix) -> None:
        """Name both sides where a prefix was made for another encoder."""
        self.check_reads_prefix()
        layers, _, heads, _, head_size = prefix.keys.shape
        expected = (self.num_layers, self.num_heads, self.hidden_size // self.num_heads)
        if (layers, heads, head_size) != expected:
            raise ValueError(
                f"text encoder has (layers, heads, head_size) = {expected}, prefix has {(layers, heads, head_size)}: "
                "build the prefix from the encoder's num_layers, num_heads and hidden_size"
            )


def _numbers_its_layers(model: PreTrainedModel, num_layers: int) -> bool:
    """Whether each layer's attention has the ``layer_idx`` that picks its keys and values.

    Encoders written before the attention interface have none and would drop the prefix without a word.
    """
    numbers = {module.layer_idx for module in model.modules() if hasattr(module, "layer_idx")}
    return numbers == set(range(num_layers))


def _load(source: str | Path | Mapping[str, Any], pretrained: bool) -> PreTrainedModel:
    """The bare model in float32, with prefix attention in its layers."""
    if isinstance(source, Mapping):
        return _from_config(_read_mapping(source, pretrained))
    try:
        if not pretrained:
            return _from_config(AutoConfig.from_pretrained(source))
        model: PreTrainedModel
        model, report = AutoModel.from_pretrained(
            source,
            attn_implementation=PREFIX_ATTENTION,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except Exception as error:  # transformers raises almost anything on damaged files
        raise WeightsUnavailable(
            unavailable_line("text encoder", str(source), pretrained, str(error))
        ) from error
    _check_complete(str(source), report["missing_keys"])
    return _with_own_attention(model)


def _read_mapping(source: Mapping[str, Any], pretrained: bool) -> PretrainedConfig:
    """The configuration that a mapping spells."""
    if pretrained or "model_type" not in source:
        raise ValueError("text_encoder as a mapping needs a model_type, and pretrained: false")
    settings = dict(source)
    model_type = settings.pop("model_type")
    if model_type not in CONFIG_MAPPING:
        raise ValueError(
            f"text_encoder has model_type '{model_type}', which transformers does not know"
        )
    return AutoConfig.for_model(model_type, **settings)


def _from_config(config: PretrainedConfig) -> PreTrainedModel:
    """A randomly initialised model; float32 whatever the configuration's weights were published in."""
    model: PreTrainedModel = AutoModel.from_config(
        config, attn_implementation=PREFIX_ATTENTION, dtype=torch.float32
    )
    return _with_own_attention(model)


def _with_own_attention(model: PreTrainedModel) -> PreTrainedModel:
    """The model; one from before the attention interface with masks that its own attention can read.

    It adds its mask to the scores. The boolean one that prefix attention asks for would hide nothing.
    """
    if not model.is_backend_compatible():
        model.config._attn_implementation = "eager"
    return model


def _check_complete(source: str, missing: Iterable[str]) -> None:
    """Refuse weights of another model, which transformers would make up for by random ones."""
    absent = sorted(name for name in missing if not name.startswith("pooler."))
    if absent:
        raise WeightsUnavailable(
            f"text encoder '{source}': its weights lack {len(absent)} tensors, among them {absent[0]}: "
            "name a folder or hub model whose weights belong to its config.json"
        )


def unavailable_line(what: str, source: str, pretrained: bool = True, reason: str = "") -> str:
    """One line that says what could not be had and what to do; of ``reason`` a folder's line gives the beginning."""
    if Path(source).is_dir():
        needed = "config.json and model.safetensors" if pretrained else "config.json"
        cause = f"; {textwrap.shorten(reason, 200)}" if reason else ""
        return f"{what} '{source}': the folder holds no model that transformers can read (needed: {needed}{cause})"
    return (
        f"{what} '{source}' is no local folder and the hub does not have it or cannot be reached: "
        "name a folder that holds it, or set pretrained: false with a folder that holds its config.json"
    )
