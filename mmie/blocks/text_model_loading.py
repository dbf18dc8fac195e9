"""Loading of Hugging Face text encoders with prefix attention in their layers."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import CONFIG_MAPPING, AutoConfig, AutoModel, PretrainedConfig, PreTrainedModel

from mmie.blocks.errors import WeightsUnavailable, unavailable_message
from mmie.blocks.prefix_attention import PREFIX_ATTENTION
from mmie.utils.model_names import is_missing_folder, missing_folder_message


def load_text_model(source: str | Path | Mapping[str, Any], pretrained: bool) -> PreTrainedModel:
    """Load or build a bare encoder in float32.

    Args:
        source: A hub name, a local folder, or a configuration as a mapping.
        pretrained: Load weights; false initialises the model randomly.

    Raises:
        WeightsUnavailable: The source is no local folder and cannot be fetched from the hub, or its
            files do not make a complete model.
        ValueError: The source is a mapping without a known ``model_type``, or is to be loaded with
            weights.
    """
    if isinstance(source, Mapping):
        return _build(_parse_mapping(source, pretrained))
    if is_missing_folder(source):
        raise WeightsUnavailable(missing_folder_message("text encoder", source))
    try:
        if not pretrained:
            return _build(AutoConfig.from_pretrained(source, trust_remote_code=False))
        model: PreTrainedModel
        model, report = AutoModel.from_pretrained(
            source,
            trust_remote_code=False,
            attn_implementation=PREFIX_ATTENTION,
            dtype=torch.float32,
            output_loading_info=True,
        )
    except Exception as error:  # transformers raises almost anything on damaged files
        raise WeightsUnavailable(
            unavailable_message("text encoder", str(source), pretrained, str(error))
        ) from error
    _check_complete(str(source), report["missing_keys"])
    _use_readable_masks(model)
    return model


def _parse_mapping(source: Mapping[str, Any], pretrained: bool) -> PretrainedConfig:
    """Make a configuration of a mapping."""
    if pretrained or "model_type" not in source:
        raise ValueError("text_encoder as a mapping needs a model_type, and pretrained: false")
    settings = dict(source)
    model_type = settings.pop("model_type")
    if model_type not in CONFIG_MAPPING:
        raise ValueError(
            f"text_encoder has model_type '{model_type}', which transformers does not know"
        )
    return AutoConfig.for_model(model_type, **settings)


def _build(config: PretrainedConfig) -> PreTrainedModel:
    """Build a randomly initialised model in float32, whatever the published weights are in."""
    model: PreTrainedModel = AutoModel.from_config(
        config,
        trust_remote_code=False,
        attn_implementation=PREFIX_ATTENTION,
        dtype=torch.float32,
    )
    _use_readable_masks(model)
    return model


def _use_readable_masks(model: PreTrainedModel) -> None:
    """Give a model from before the attention interface masks that its own attention can use.

    Its attention adds the mask to the scores. The bool mask of prefix attention would hide nothing.
    """
    if not model.is_backend_compatible():
        model.config._attn_implementation = "eager"


def _check_complete(source: str, missing: Iterable[str]) -> None:
    """Raise if weights are missing, which transformers would replace by random ones."""
    absent = sorted(name for name in missing if not name.startswith("pooler."))
    if absent:
        raise WeightsUnavailable(
            f"text encoder '{source}': its weights lack {len(absent)} tensors, among them "
            f"{absent[0]}: name a folder or hub model whose weights belong to its config.json"
        )
