"""A text encoder walked through layer by layer, for methods that do something inside its layers."""

from collections.abc import Sequence

from torch import Tensor, nn
from transformers.masking_utils import create_bidirectional_mask

from mmie.blocks.text_encoder import TextEncoder


def text_layers(text: TextEncoder) -> Sequence[nn.Module]:
    """The encoder's layers; each has an ``attention`` and a ``feed_forward_chunk``, residuals and norms included.

    Raises:
        ValueError: The encoder is not built like BERT.
    """
    model = text.model
    layers: Sequence[nn.Module] = getattr(getattr(model, "encoder", None), "layer", ())
    alike = (
        len(layers) > 0
        and hasattr(layers[0], "attention")
        and hasattr(layers[0], "feed_forward_chunk")
    )
    if not alike or hasattr(model, "embeddings_project"):
        raise ValueError(
            f"text encoder of type '{text.config.model_type}' cannot be walked through layer by layer: "
            "use one of the BERT, RoBERTa or XLM-R families"
        )
    return layers


def embed_text(
    text: TextEncoder, input_ids: Tensor, token_type_ids: Tensor, added: Tensor | None = None
) -> Tensor:
    """What the first layer reads, (batch, tokens, hidden).

    Args:
        text: The encoder.
        input_ids: (batch, tokens)
        token_type_ids: (batch, tokens); ignored by encoders that know one segment only.
        added: (batch, tokens, hidden) to add to the embeddings of the tokens, before positions, segments and norm.
    """
    tokens = text.model.get_input_embeddings()(input_ids)
    segments = token_type_ids if text.has_segments else None
    embeddings: nn.Module = text.model.embeddings  # type: ignore[assignment]
    embedded: Tensor = embeddings(
        input_ids=input_ids,  # RoBERTa counts positions from the ids
        token_type_ids=segments,
        inputs_embeds=tokens if added is None else tokens + added,
    )
    return embedded


def layer_mask(text: TextEncoder, states: Tensor, attention_mask: Tensor) -> Tensor | None:
    """The mask that the layers take, made of (batch, tokens) bool."""
    whole = text.layer_mask(attention_mask)
    if whole.ndim > 2:
        return whole
    mask: Tensor | None  # as for every attention but flex
    mask = create_bidirectional_mask(
        config=text.config, inputs_embeds=states, attention_mask=attention_mask
    )
    return mask
