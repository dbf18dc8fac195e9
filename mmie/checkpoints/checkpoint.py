"""The content of a checkpoint as a type. Its keys are spelled here and nowhere else."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from mmie.checkpoints.foreign import ForeignReference, self_contained
from mmie.data.pictures import ImageTransform
from mmie.data.state import DataState, DataStateError, RelationTypesByLabel, read_schema
from mmie.types import MmieError, Schema
from mmie.utils.text import describe_error, first_line
from mmie.utils.version import VERSION

METHOD_KEY, DATA_KEY, WEIGHTS_KEY = "mmie", "MultimodalDataModule", "state_dict"
"""Keys of a checkpoint file: the method's description, the data module's state, the weights.

Lightning names the second by the data module's class and the third itself.
"""


class CheckpointError(MmieError, ValueError):
    """A file that is no checkpoint of this package, or one of a method that is not known here."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Everything needed to build a trained method again and to read posts as it read them.

    Attributes:
        source: File, folder or repository that it was read from, for error messages.
        method: Full name of the method's class.
        init_args: Arguments of its constructor, in plain values, without the schema.
        schema: Task, labels and sizes.
        state_dict: Weights and buffers by name, on the CPU.
        tokenizer: Files of the tokenizer, name to text; None without a data module's state.
        image_transform: Conversion of pictures to views; None without a data module's state.
        use_context: Whether posts' contexts follow their words.
        version: Version of the package that wrote it; empty if it does not say.
        corpus: SHA-256 of each split of the fit's corpus, by split; empty if it does not say.
        relation_types: Types of head and tail of the training data's relations, by label; empty if
            it does not say.
        training: The rest of a checkpoint file: the trainer's step, callbacks, optimisers.
    """

    source: str
    method: str
    init_args: dict[str, Any]
    schema: Schema
    state_dict: dict[str, Tensor] = field(repr=False)
    tokenizer: dict[str, str] | None = field(default=None, repr=False)
    image_transform: ImageTransform | None = None
    use_context: bool = False
    version: str = ""
    corpus: Mapping[str, str] = field(default_factory=dict)
    relation_types: RelationTypesByLabel = field(default_factory=dict)
    training: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def from_content(cls, content: Mapping[str, Any], source: str | Path) -> Self:
        """Read the content of a checkpoint file.

        Args:
            content: The file's dictionary.
            source: Where it was read from.

        Raises:
            CheckpointError: The content does not describe a method, its data is malformed, or an
                argument names a file, a repository or code.
        """
        if not isinstance(content, Mapping) or METHOD_KEY not in content:
            raise CheckpointError(
                f"'{source}' is no checkpoint of mmie: it says nothing of a method"
            )
        description = content[METHOD_KEY]
        version = str(description.get("version", "")) if isinstance(description, Mapping) else ""
        try:
            schema = read_schema(description["schema"])
            init_args, method = self_contained(description["init_args"]), str(description["method"])
            weights = dict(content[WEIGHTS_KEY])
        except ForeignReference as error:
            raise CheckpointError(f"'{source}' has {error}") from error
        except (
            KeyError,
            TypeError,
            ValueError,
            AttributeError,
            IndexError,
            RecursionError,
        ) as error:
            raise CheckpointError(unfit_message(source, version, describe_error(error))) from error
        check_finite(weights, source)
        keys = (METHOD_KEY, DATA_KEY, WEIGHTS_KEY)
        training = {name: value for name, value in content.items() if name not in keys}
        checkpoint = cls(
            str(source), method, init_args, schema, weights, version=version, training=training
        )
        return checkpoint._with_data(content[DATA_KEY]) if DATA_KEY in content else checkpoint

    def _with_data(self, values: Mapping[str, Any]) -> Self:
        """Add the state of the data module.

        Raises:
            CheckpointError: The state does not tell how posts are read.
        """
        try:
            data = DataState.from_dict(values)
        except DataStateError as error:
            raise CheckpointError(
                f"'{self.source}' does not say how it reads posts: it was not written by mmie fit "
                f"({first_line(error)})"
            ) from error
        return replace(
            self,
            tokenizer=data.tokenizer,
            image_transform=data.transform,
            use_context=data.use_context,
            corpus=data.corpus,
            relation_types=data.relation_types,
        )

    def data_state(self) -> DataState:
        """Return the state of the data module, which tells how posts are read.

        Raises:
            CheckpointError: The checkpoint holds none.
        """
        if self.tokenizer is None or self.image_transform is None:
            raise CheckpointError(
                f"'{self.source}' says nothing of its data: it was not written by `mmie fit`"
            )
        return DataState(
            self.schema,
            self.tokenizer,
            self.image_transform,
            self.use_context,
            corpus=self.corpus,
            relation_types=self.relation_types,
        )


def describe_method(
    method: str, schema: Schema, init_args: Mapping[str, Any], version: str = VERSION
) -> dict[str, Any]:
    """Describe a method in the plain values that a checkpoint file holds.

    Args:
        method: Full name of the method's class.
        schema: Task, labels and sizes.
        init_args: Arguments of the constructor that build the same network from the file alone.
        version: Version of the package that trained it.
    """
    description = {
        "method": method,
        "schema": asdict(schema),
        "init_args": dict(init_args),
        "version": version,
    }
    return {METHOD_KEY: description}


def check_finite(weights: Mapping[str, Tensor], source: str | Path) -> None:
    """Raise if a weight is not a number.

    Args:
        weights: Weights and buffers by name.
        source: Where they were read from.

    Raises:
        CheckpointError: A value is NaN or infinite.
    """
    for name, values in weights.items():
        if not isinstance(values, Tensor) or not values.is_floating_point():
            continue
        total = values.sum(dtype=torch.promote_types(values.dtype, torch.float32))
        # the sum is ten times as fast, and may overflow
        if not bool(total.isfinite()) and not bool(values.isfinite().all()):
            raise CheckpointError(
                f"'{source}' holds weights that are no finite numbers ({name}): its fit diverged"
            )


def unfit_message(source: str | Path, version: str, reason: str) -> str:
    """Describe a checkpoint of another version of the package or of the method.

    Args:
        source: Where it was read from.
        version: Version of the package that wrote it; empty if it is not known.
        reason: What does not fit.
    """
    written_by = f"mmie {version}" if version else "an unknown version of mmie"
    return (
        f"'{source}' does not fit the method known here ({reason}). It was written by "
        f"{written_by}, this is mmie {VERSION}: load it with the version of the package, or of "
        "the method, that wrote it"
    )
