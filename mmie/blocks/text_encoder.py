"""Text encoder of all methods: any Hugging Face encoder that supports the attention interface."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import PretrainedConfig

from mmie.blocks.dropout import use_cheap_dropout
from mmie.blocks.errors import EncoderUnsuited
from mmie.blocks.prefix_attention import Prefix
from mmie.blocks.prefix_support import number_attention, prefix_obstacle
from mmie.blocks.text_model_loading import load_text_model
from mmie.blocks.weights import digest_tensors

_CONFIG_OF_FILE = ("_name_or_path", "transformers_version", "dtype", "torch_dtype")
"""Settings of a configuration that describe the file and not the encoder."""


class TextEncoder(nn.Module):
    """Pretrained transformer that accepts a prefix of keys and values in every layer.

    Args:
        source: A hub name, a local folder, or a configuration as a mapping (then ``pretrained``
            must be false).
        pretrained: Load weights; false builds the model from its configuration alone, randomly
            initialised.
        vocab_size: Tokens of the tokenizer; the embedding grows to it, never shrinks. None leaves
            it unchanged.
        frozen: No gradients for its weights, and eval mode always.
        gradient_checkpointing: Recompute activations in the backward pass: less memory, about a
            third more time.

    Raises:
        WeightsUnavailable: The source is no local folder and cannot be fetched from the hub, or its
            files do not make a complete model.
        ValueError: The source is a mapping without a known ``model_type``, or is to be loaded with
            weights.
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
        self.model = load_text_model(source, pretrained)
        if getattr(self.model, "pooler", None) is not None:
            # Nothing uses the pooler, and DDP waits for the gradient of every weight.
            self.model.pooler = None  # type: ignore[assignment]
        use_cheap_dropout(self.model)
        number_attention(self.model)
        self._num_loaded_words = int(self.config.vocab_size)
        if vocab_size is not None and vocab_size > int(self.config.vocab_size):
            self.model.resize_token_embeddings(vocab_size, mean_resizing=False)
        if gradient_checkpointing:
            self._enable_gradient_checkpointing()
        self.frozen = frozen
        self.model.requires_grad_(not frozen)
        # transformers returns loaded models in eval mode, and Lightning leaves modes unchanged
        self.train()

    def _enable_gradient_checkpointing(self) -> None:
        """Make the layers recompute their activations in the backward pass."""
        if not self.model.supports_gradient_checkpointing:
            raise EncoderUnsuited(
                f"text encoder of type '{self.config.model_type}' cannot recompute its "
                "activations: set gradient_checkpointing: false"
            )
        self.model.gradient_checkpointing_enable({"use_reentrant": False})

    def identity(self) -> dict[str, Any]:
        """Return all that its states depend on beside the text.

        Word embeddings that were added to the loaded ones do not count, since they are random.
        """
        weights = dict(self.model.state_dict())
        embeddings: Any = self.model.get_input_embeddings()
        for name, value in weights.items():
            if value.data_ptr() == embeddings.weight.data_ptr():
                weights[name] = value[: self._num_loaded_words]
        config = self.config.to_dict()
        for name in _CONFIG_OF_FILE:
            config.pop(name, None)
        return {"config": config, "weights": digest_tensors(weights)}

    @property
    def config(self) -> PretrainedConfig:
        """The encoder's configuration, which suffices to build it again without weights."""
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
        """Whether the encoder distinguishes a second segment from the first."""
        return int(getattr(self.config, "type_vocab_size", 1)) > 1

    def layer_depths(self) -> dict[nn.Parameter, int]:
        """Count the layers above each parameter: 0 in and above the highest layer.

        Raises:
            EncoderUnsuited: The encoder has no list of its layers.
        """
        stacks = [
            part
            for part in self.model.modules()
            if isinstance(part, nn.ModuleList) and len(part) == self.num_layers
        ]
        if not stacks:
            raise EncoderUnsuited(
                f"text encoder of type '{self.config.model_type}' has no list of its layers: set "
                "text_lr_decay: 1"
            )
        embedding: nn.Module = self.model.get_input_embeddings()
        embeddings = getattr(self.model, "embeddings", embedding)
        depths = dict.fromkeys(embeddings.parameters(), self.num_layers)
        for index, layer in enumerate(stacks[0]):
            depths.update(dict.fromkeys(layer.parameters(), self.num_layers - 1 - index))
        return depths

    @property
    def max_positions(self) -> int:
        """Largest number of tokens that the encoder has positions for."""
        return int(self.config.max_position_embeddings) - self._first_position

    @property
    def _first_position(self) -> int:
        """Position id of the first token: 0, but above the padding id in RoBERTa's family."""
        padding = getattr(getattr(self.model, "embeddings", None), "padding_idx", None)
        return 0 if padding is None else int(padding) + 1

    def train(self, mode: bool = True) -> "TextEncoder":
        """Set training mode, unless frozen."""
        return super().train(mode and not self.frozen)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor,
        prefix: Prefix | None = None,
        position_shift: int = 0,
    ) -> Tensor:
        """Compute the states of the tokens.

        Args:
            input_ids: (batch, tokens)
            attention_mask: (batch, tokens) bool
            token_type_ids: (batch, tokens); ignored by encoders with a single segment.
            prefix: Keys and values for every layer.
            position_shift: Number added to all position ids, for methods whose published code
                counts the prefix in the positions.

        Returns:
            (batch, tokens, hidden)

        Raises:
            EncoderUnsuited: A prefix is given that the encoder would ignore.
            ValueError: The prefix does not fit the encoder, or the text is longer than the
                encoder's position embeddings.
        """
        self._check_length(input_ids.shape[1] + position_shift)
        inputs: dict[str, Any] = {
            "input_ids": input_ids,
            "attention_mask": self.layer_mask(attention_mask),
        }
        if self.has_segments:
            inputs["token_type_ids"] = token_type_ids
        if prefix is not None:
            self._check_prefix(prefix)
            inputs["prefix"] = prefix
        if position_shift:  # without a shift, the model numbers the tokens itself
            ranks = (attention_mask.long().cumsum(1) - 1).clamp(min=0)  # (batch, tokens)
            inputs["position_ids"] = ranks + self._first_position + position_shift
        states: Tensor = self.model(**inputs).last_hidden_state
        return states

    def layer_mask(self, attention_mask: Tensor) -> Tensor:
        """Expand an attention mask (batch, tokens) to the mask that every layer takes.

        Transformers would first check whether anything is masked, which makes the host wait for
        the GPU. Encoders with masks of their own, or one for each kind of layer, get the mask
        unchanged.

        Returns:
            (batch, 1, tokens, tokens) bool, or (batch, tokens).
        """
        has_window = getattr(self.config, "sliding_window", None) is not None
        if not self.model.is_backend_compatible() or has_window:
            return attention_mask
        return attention_mask[:, None, None, :].expand(-1, -1, attention_mask.shape[1], -1)

    def check_reads_prefix(self) -> None:
        """Raise if the encoder would ignore a prefix.

        Raises:
            EncoderUnsuited: The encoder passes no prefix on to its layers.
        """
        obstacle = prefix_obstacle(self.model)
        if obstacle is not None:
            raise EncoderUnsuited(
                f"text encoder of type '{self.config.model_type}' reads no prefix: {obstacle}. Use "
                "one of the BERT, RoBERTa, XLM-R, ELECTRA, DistilBERT or ModernBERT families, or a "
                "method without a prefix, such as TextOnly"
            )

    def _check_length(self, end: int) -> None:
        """Raise if the text exceeds the position embeddings (a GPU would report it late)."""
        if end > self.max_positions:
            raise ValueError(
                f"the text takes positions up to {end}, text encoder has {self.max_positions}: "
                "lower data.max_tokens"
            )

    def _check_prefix(self, prefix: Prefix) -> None:
        """Raise if the encoder ignores prefixes or the prefix was made for another encoder."""
        self.check_reads_prefix()
        layers, _, heads, _, head_size = prefix.keys.shape
        expected = (self.num_layers, self.num_heads, self.hidden_size // self.num_heads)
        if (layers, heads, head_size) != expected:
            raise ValueError(
                f"text encoder has (layers, heads, head_size) = {expected}, prefix has "
                f"{(layers, heads, head_size)}: build the prefix from the encoder's num_layers, "
                "num_heads and hidden_size"
            )
