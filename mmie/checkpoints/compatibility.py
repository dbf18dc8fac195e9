"""Whether a checkpoint fits the method that is to load it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mmie.checkpoints.checkpoint import Checkpoint
from mmie.data.state import schema_difference
from mmie.runs.facts import changed_splits
from mmie.types import MmieError, Schema

_IRRELEVANT_SETTINGS = (
    "_name_or_path",
    "architectures",
    "dtype",
    "gradient_checkpointing",
    "torch_dtype",
    "transformers_version",
    "use_cache",
    "vocab_size",
)
"""Settings of a text encoder that change no states, and the vocabulary's size, which grows."""
FITTED_ATTRIBUTES = ("task", "labels", "tag_scheme", "vocab_size")
"""Attributes of a schema that the weights were trained for."""


class CheckpointMismatch(MmieError, ValueError):
    """A checkpoint of another method, task or set of labels than what is to run."""


def check_fits(checkpoint: Checkpoint, method: str, schema: Schema) -> None:
    """Raise if the weights would not fit a method, or would mean something else in it.

    Args:
        checkpoint: The checkpoint.
        method: Full name of the class of the method that is to load it.
        schema: The method's schema.

    Raises:
        CheckpointMismatch: The method, the task, the labels, the tag scheme or the vocabulary's
            size differs.
    """
    if checkpoint.method != method:
        raise CheckpointMismatch(_mismatch("method", checkpoint.method, method))
    name = find_difference(checkpoint, schema, FITTED_ATTRIBUTES)
    if name is not None:
        theirs, ours = getattr(checkpoint.schema, name), getattr(schema, name)
        raise CheckpointMismatch(_mismatch(name, theirs, ours))


def check_encoder(checkpoint: Checkpoint, config: Mapping[str, Any]) -> None:
    """Raise if a text encoder would compute other states than the one of the checkpoint's fit.

    Settings that only one of the versions of transformers has are not compared, nor is dropout.

    Args:
        checkpoint: The checkpoint.
        config: Configuration of the text encoder that is to take the weights.

    Raises:
        CheckpointMismatch: A setting of the text encoder differs.
    """
    trained: Any = checkpoint.init_args.get("text_encoder")
    if not isinstance(trained, Mapping):
        return
    for name in sorted(trained.keys() & config.keys()):
        if name in _IRRELEVANT_SETTINGS or "dropout" in name:
            continue
        if trained[name] != config[name]:
            raise CheckpointMismatch(
                _mismatch(f"a text encoder of {name}", trained[name], config[name])
            )


def describe_changed_splits(
    checkpoint: Checkpoint, digests: Mapping[str, str], splits: Sequence[str]
) -> str:
    """Say which splits are others than those of the checkpoint's fit.

    Args:
        checkpoint: The checkpoint.
        digests: SHA-256 of each split of the corpus that is read.
        splits: Splits that are read.

    Returns:
        A sentence, empty if no recorded split has changed.
    """
    changed = changed_splits(checkpoint.corpus, digests, splits)
    if not changed:
        return ""
    return (
        f"the {' and '.join(changed)} split is not the one that the fit of {checkpoint.source} "
        "had: its texts, labels or pictures are others"
    )


def find_difference(checkpoint: Checkpoint, schema: Schema, names: Sequence[str]) -> str | None:
    """Return the first attribute in which a checkpoint's schema differs, or None.

    Args:
        checkpoint: The checkpoint.
        schema: The schema of the method that is to load it.
        names: Attributes of a schema.
    """
    return schema_difference(checkpoint.schema, schema, names)


def same_vocabulary(files: Mapping[str, str], others: Mapping[str, str]) -> bool:
    """Tell whether two tokenizers give the same ids to the same tokens.

    Args:
        files: Files of a tokenizer, name to text.
        others: Files of the other tokenizer.
    """
    return _vocabulary(files) == _vocabulary(others)


def _vocabulary(files: Mapping[str, str]) -> object:
    """Extract the tokens and their ids from a tokenizer's files, without its settings."""
    if "tokenizer.json" not in files:  # a slow tokenizer
        return {name: text for name, text in files.items() if name != "tokenizer_config.json"}
    content = json.loads(files["tokenizer.json"])
    added = [(token["id"], token["content"]) for token in content["added_tokens"]]
    return content["model"]["vocab"], added


def _mismatch(name: str, theirs: object, ours: object) -> str:
    """Say what differs between a checkpoint and a run."""
    return f"the checkpoint was trained with {name} {theirs}, the run has {ours}"
