"""Base class of the methods: text encoder, head, predictions, diagnosis and checkpoint content.

The hooks that Lightning calls are in `mmie.methods.lightning_hooks`.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from mmie.blocks.features import FeatureSpec
from mmie.blocks.heads import Pooling
from mmie.blocks.prefix_attention import Prefix
from mmie.blocks.text_encoder import TextEncoder
from mmie.checkpoints import describe_method
from mmie.methods.init_args import RecordsInitArgs
from mmie.methods.inspection import diagnose_batch, inspecting
from mmie.methods.lightning_hooks import LightningHooks, Schedule
from mmie.methods.papers import Paper
from mmie.methods.parameter_groups import build_parameter_groups
from mmie.methods.regularisation import Regularisation
from mmie.methods.tasks import build_task
from mmie.types import Batch, Encoding, Prediction, Schema
from mmie.utils.references import without_origin


def full_name(method: type) -> str:
    """Return the name of a method's class in a checkpoint."""
    return f"{method.__module__}.{method.__qualname__}"


class ExtractionModule(LightningHooks, metaclass=RecordsInitArgs):
    """Method that extracts entities or relations from posts.

    A subclass implements `encode` and passes on to this constructor the arguments that it does not
    use itself.

    Args:
        schema: Description of the data. The command line links it from the data module.
        text_encoder: Hub name, local folder, or configuration of the text encoder.
        pretrained: Load weights. False builds encoder and backbone from their configurations alone.
        freeze_text: Do not train the text encoder.
        gradient_checkpointing: Recompute the text encoder's activations in the backward pass: less
            memory, about a third more time.
        compile: Compile the method's computation for training, once for all lengths: slow to
            start, then faster.
        pooling: States that a relation head classifies: ``cls``, ``entities`` or ``cls_tail``, see
            `mmie.blocks.heads.RelationHead`.
        dropout: Dropout before the head's linear map.
        text_lr: Learning rate of pretrained weights, of text and vision.
        fusion_lr: Learning rate of the method's own layers.
        head_lr: Learning rate of the head.
        weight_decay: Weight decay of everything but biases, norms and embeddings.
        warmup_ratio: Share of the steps in which the learning rates rise.
        schedule: Course of the rates after that: ``linear`` or ``cosine`` fall to 0, ``constant``
            stays.
        text_lr_decay: Factor between the learning rates of a text layer and the one above it. The
            highest layer has ``text_lr``, the embeddings come below the lowest.
        r_drop: Weight of R-Drop, 0 for none: see `mmie.methods.regularisation.Regularisation`.
        adversarial: Norm of the adversarial change of a post's word embeddings, 0 for none:
            likewise.
        dropout_samples: Dropout masks of the head over which its loss is averaged: likewise.
        label_smoothing: Share of the gold label's probability that a relation's loss spreads over
            all labels.
        init_from: Checkpoint of another run, of any task, corpus or method, whose weights a fit
            starts from: see `mmie.methods.initialisation.initialise_from`.

    Raises:
        ValueError: The text encoder has fewer positions than the data module's ``max_tokens``, or a
            loss does not go with the task or with another setting.
    """

    paper: ClassVar[Paper | None] = None
    """Paper of the method. Its scores belong only to the class that sets it, not to subclasses."""
    monitor: ClassVar[tuple[str, Literal["min", "max"]]] = ("val/f1", "max")
    """Logged value that decides the best epoch, and whether it is minimised or maximised."""
    init_args: dict[str, Any]
    """Arguments that the constructor received, which a checkpoint carries."""

    def __init__(
        self,
        schema: Schema,
        text_encoder: str | dict[str, Any] = "bert-base-uncased",
        pretrained: bool = True,
        freeze_text: bool = False,
        gradient_checkpointing: bool = False,
        compile: bool = False,
        pooling: Pooling = "entities",
        dropout: float = 0.1,
        text_lr: float = 3e-5,
        fusion_lr: float = 3e-5,
        head_lr: float = 1e-2,
        weight_decay: float = 0.01,
        warmup_ratio: float = 0.1,
        schedule: Schedule = "linear",
        text_lr_decay: float = 1.0,
        r_drop: float = 0.0,
        adversarial: float = 0.0,
        dropout_samples: int = 1,
        label_smoothing: float = 0.0,
        init_from: str | None = None,
    ) -> None:
        super().__init__()
        self.schema = schema
        self.pretrained = pretrained
        self.compiles = compile
        self.text = TextEncoder(
            text_encoder, pretrained, schema.vocab_size, freeze_text, gradient_checkpointing
        )
        self.check_positions()
        self.pooling: Pooling = pooling
        self.dropout = dropout
        self.learning_rates = {"text": text_lr, "fusion": fusion_lr, "head": head_lr}
        self.weight_decay = weight_decay
        self.warmup_ratio = warmup_ratio
        self.schedule = schedule
        self.text_lr_decay = text_lr_decay
        if adversarial and (freeze_text or compile):
            raise ValueError(
                "adversarial changes word embeddings between two passes, for which they must be "
                "trained and not compiled: set freeze_text and compile to false"
            )
        self.regularisation = Regularisation(r_drop, adversarial, dropout_samples)
        self.label_smoothing = label_smoothing
        self.init_from = init_from
        self.task = build_task(schema)
        self.set_head(self.text.hidden_size)
        self.build_metrics()

    @abstractmethod
    def encode(self, batch: Batch) -> Encoding:
        """Encode the text conditioned on the images.

        Returns:
            States (batch, tokens, hidden), and extra losses by name.
        """

    def encode_text(
        self, batch: Batch, prefix: Prefix | None = None, position_shift: int = 0
    ) -> Tensor:
        """Run the text encoder over a batch and return its states, (batch, tokens, hidden)."""
        states: Tensor = self.text(
            batch.input_ids, batch.attention_mask, batch.token_type_ids, prefix, position_shift
        )
        return states

    @property
    def reads_pixels(self) -> bool:
        """Whether batches must hold pixels even if they hold all features of `feature_specs`."""
        return True

    @property
    def uses_images(self) -> bool:
        """Whether predictions depend on images."""
        return self.reads_pixels or any(
            spec.is_visual and not spec.training_only for spec in self.feature_specs()
        )

    def feature_specs(self) -> list[FeatureSpec]:
        """Specify the features that can be cached because training does not change them."""
        return []

    def set_head(self, hidden_size: int) -> None:
        """Replace the head by a new one for states of width ``hidden_size``."""
        self.head = self.task.build_head(
            hidden_size, self.pooling, self.dropout, self.label_smoothing
        )

    def check_positions(self, shift: int = 0) -> None:
        """Raise if the longest text does not fit the text encoder's position embeddings.

        Args:
            shift: Number added to all positions of the text.

        Raises:
            ValueError: The longest text needs more positions than the text encoder has.
        """
        excess = self.schema.max_tokens + shift - self.text.max_positions
        if excess > 0:
            shift_note = f" and the text starts at position {shift}" if shift else ""
            raise ValueError(
                f"text encoder has {self.text.max_positions} positions, data.max_tokens is "
                f"{self.schema.max_tokens}{shift_note}: lower data.max_tokens by {excess}"
            )

    def forward(self, batch: Batch) -> list[Prediction]:
        """Predict for a batch of posts, without probabilities."""
        decoded = self.head.decode(self.encode(batch).states, batch)
        return self.task.build_predictions(batch, decoded)

    def predict(self, batch: Batch) -> list[Prediction]:
        """Predict for a batch of posts, with probabilities."""
        return self.predict_from_scores(self.scores(batch), batch)

    def scores(self, batch: Batch) -> Tensor:
        """Score every tag for every word, (batch, words, tags), or every label, (batch, labels)."""
        return self.head.scores(self.encode(batch).states, batch)

    def predict_from_scores(self, scores: Tensor, batch: Batch) -> list[Prediction]:
        """Predict from the result of `scores`, with probabilities."""
        decoded = self.head.decode_scores(scores, batch)
        predictions = self.task.build_predictions(batch, decoded)
        confidence = self.head.score_confidence(scores, batch, decoded)
        return self.task.add_probabilities(predictions, confidence)

    def predict_step(self, batch: Batch, batch_idx: int) -> list[Prediction]:
        """Predict for a batch, with probabilities."""
        return self.predict(batch)

    def diagnose(self, batch: Batch) -> dict[str, Tensor]:
        """Explain the predictions for a batch by numbers of every post.

        They are computed in eval mode, without gradients and without changing weights, modes or
        random numbers. Methods add their own numbers.

        ============== ============================= ===============================================
        view_support   (batch, views)                log probability of the prediction, minus that
                                                     without the view
        view_change    (batch, views)                relative change of the states without the view
        representation (batch, words or 1, width)    what the head classifies, see `represent`
        prefix_mass    (batch, layers, words, views) attention on a view's prefix positions, mean
                                                     over heads
        prompt_mass    (batch, layers, words,        the same on each position, if they belong to no
                       prefix)                       view
        ============== ============================= ===============================================

        The first two are 0 for a masked view. The result has one of the last two if the text
        encoder receives a prefix.
        """
        with inspecting(self):
            return diagnose_batch(self, batch)

    def prefix_views(self, num_views: int) -> Tensor | None:
        """Return the view of each prefix position, (heads, prefix), None if they have no view."""
        return None

    def represent(self, states: Tensor, batch: Batch) -> Tensor:
        """Return what the head classifies: states of words, or one vector of the post.

        Returns:
            (batch, words, width), or (batch, 1, width).
        """
        pooled = self.head.pool(states, batch)  # (batch, words, width) or (batch, width)
        return pooled.unsqueeze(1) if pooled.ndim == 2 else pooled

    def pretrained_modules(self) -> list[nn.Module]:
        """Return the parts that train at ``text_lr``."""
        return [self.text]

    def head_modules(self) -> list[nn.Module]:
        """Return the parts that train at ``head_lr``."""
        return [self.head]

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Put every trainable parameter into exactly one group of the optimiser."""
        return build_parameter_groups(
            self,
            self.pretrained_modules(),
            self.head_modules(),
            self.learning_rates,
            self.weight_decay,
            self.text_lr_decay,
            {} if self.text_lr_decay == 1 else self.text.layer_depths(),
        )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add the plain values from which `mmie.methods.loading` builds the module again."""
        settings = {name: value for name, value in self.init_args.items() if name != "schema"}
        init_args = {**settings, "pretrained": False, "init_from": None, **self.rebuild_args()}
        checkpoint.update(describe_method(full_name(type(self)), self.schema, init_args))

    @classmethod
    def upgrade_init_args(
        cls, init_args: dict[str, Any], state_dict: Mapping[str, Tensor]
    ) -> dict[str, Any]:
        """Return the constructor arguments of a checkpoint for this version of the method.

        A method whose defaults have changed adds those with which older checkpoints were trained.

        Args:
            init_args: Arguments that the checkpoint holds.
            state_dict: Its weights by name.
        """
        return init_args

    def rebuild_args(self) -> dict[str, Any]:
        """Return constructor arguments that build the same network without a hub or folder."""
        config = self.text.config.to_dict()
        config.pop("auto_map", None)  # code of the repository, which is never run
        return {"text_encoder": without_origin(config)}
