"""Access to a text encoder layer by layer, for methods that compute inside its layers."""

from collections.abc import Sequence

from torch import Tensor, nn
from transformers.masking_utils import create_bidirectional_mask

from mmie.blocks.text_encoder import TextEncoder


def text_layers(text: TextEncoder) -> Sequence[nn.Module]:
    """Return the encoder's layers.

    Each has an ``attention`` and a ``feed_forward_chunk``, residuals and norms included.

    Raises:
        ValueError: The encoder is not built like BERT.
    """
    model = text.model
    layers: Sequence[nn.Module] = getattr(getattr(model, "encoder", None), "layer", ())
    is_like_bert = (
        model.is_backend_compatible()  # not RoFormer, whose layers take positions as well
        and len(layers) > 0
        and hasattr(layers[0], "attention")
        and hasattr(layers[0], "feed_forward_chunk")
        and not hasattr(model, "embeddings_project")
    )
    if not is_like_bert:
        raise ValueError(
            f"text encoder of type '{text.config.model_type}' cannot be walked through layer by "
            "layer: use one of the BERT, RoBERTa or XLM-R families"
        )
    return layers


def embed_text(
    text: TextEncoder, input_ids: Tensor, token_type_ids: Tensor, added: Tensor | None = None
) -> Tensor:
    """Compute the input of the first layer.

    Args:
        text: The encoder.
        input_ids: (batch, tokens)
        token_type_ids: (batch, tokens); ignored by encoders with a single segment.
        added: (batch, tokens, hidden) to add to the embeddings of the tokens, before positions,
            segments and norm.

    Returns:
        (batch, tokens, hidden)
    """
    tokens = text.model.get_input_embeddings()(input_ids)  # (batch, tokens, hidden)
    embeddings: nn.Module = text.model.embeddings  # type: ignore[assignment]
    embedded: Tensor = embeddings(
        input_ids=input_ids,  # RoBERTa counts positions from the ids
        token_type_ids=token_type_ids if text.has_segments else None,
        inputs_embeds=tokens if added is None else tokens + added,
    )
    return embedded


def layer_mask(text: TextEncoder, states: Tensor, attention_mask: Tensor) -> Tensor | None:
    """Make the mask that the layers take of an attention mask.

    Args:
        text: The encoder.
        states: (batch, tokens, hidden) input of the first layer.
        attention_mask: (batch, tokens) bool

    Returns:
        (batch, 1, tokens, tokens); None if nothing is masked.
    """
    expanded = text.layer_mask(attention_mask)
    if expanded.ndim > 2:
        return expanded
    mask: Tensor | None  # flex attention, which would give another type, is not used
    mask = create_bidirectional_mask(
        config=text.config, inputs_embeds=states, attention_mask=attention_mask
    )
    return mask
