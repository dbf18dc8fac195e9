"""What all methods share: text encoder, backbone, head, loss, metrics, optimiser groups, schedule."""

import inspect
from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import Any, ClassVar, Literal

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer
from torchmetrics import MeanMetric, Metric
from transformers import get_linear_schedule_with_warmup

from mmie.blocks.features import FeatureSpec
from mmie.blocks.heads import Pooling
from mmie.blocks.prefix_attention import Prefix, watch_prefixes
from mmie.blocks.text_encoder import TextEncoder
from mmie.checkpoints import describe_method
from mmie.methods.initialisation import initialise_from
from mmie.methods.inspection import (
    inspecting,
    mass_by_view,
    mass_of_words,
    relative_change,
    without_view,
)
from mmie.methods.optimizer import EmbeddingAdamW, use_sparse_gradients
from mmie.methods.papers import Paper
from mmie.methods.tasks import build_task
from mmie.metrics import TEMPERATURES, BestTemperature, CalibrationError
from mmie.types import Batch, Encoding, Prediction, Schema

Stage = Literal["val", "test"]
_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)


def full_name(method: type) -> str:
    """Return the name by which a checkpoint knows its method's class."""
    return f"{method.__module__}.{method.__qualname__}"


class _RemembersArguments(ABCMeta):
    """Metaclass whose instances know the arguments that their constructor received.

    Lightning's ``save_hyperparameters`` would also record what a subclass passes on to its parent,
    such as the activation that RSRNeT chooses for HVPNet; the subclass takes no such argument and
    could not be built again.
    """

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        """Build an instance and record its arguments as ``init_args``."""
        module = super().__call__(*args, **kwargs)
        names = list(inspect.signature(cls.__init__).parameters)[1:]  # type: ignore[misc]
        module.init_args = {**dict(zip(names, args, strict=False)), **kwargs}
        return module


class ExtractionModule(LightningModule, metaclass=_RemembersArguments):
    """A method: posts in, entities or relations out.

    A subclass says in `encode` how it reads the text, and passes on to this constructor what it does not use itself.

    Args:
        schema: What the data module says of the data; the command line links it.
        text_encoder: Hub name, local folder, or configuration of the text encoder.
        pretrained: Load weights; false builds encoder and backbone from their configurations alone.
        freeze_text: Keep the text encoder as it is.
        gradient_checkpointing: Less memory for the text encoder's activations, about a third more time.
        compile: Compile the method's computation for training, once for all lengths: slow to start, then faster.
        pooling: What a relation head reads: ``cls`` or ``entities``.
        dropout: Dropout before the head's linear map.
        text_lr: Learning rate of pretrained weights, of text and vision.
        fusion_lr: Learning rate of the method's own layers.
        head_lr: Learning rate of the head.
        weight_decay: Decay of everything but biases, norms and embeddings.
        warmup_ratio: Share of the steps in which the learning rates rise; then they fall linearly to 0.
        init_from: Checkpoint of another run, of any task, corpus or method, whose weights a fit starts from: see
            `mmie.methods.initialisation.initialise_from`.

    Raises:
        ValueError: The text encoder has fewer positions than the data module's ``max_tokens``.
    """

    paper: ClassVar[Paper | None] = None
    """Where the method was published, and what was reported of it; scores are of the class that names it alone."""
    monitor: ClassVar[tuple[str, Literal["min", "max"]]] = ("val/f1", "max")
    """The logged value that tells the best epoch, and whether less or more of it is better."""
    init_args: dict[str, Any]
    """What the constructor was given; a checkpoint carries it."""

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
        self.init_from = init_from
        self.task = build_task(schema)
        self.set_head(self.text.hidden_size)
        self.metrics = nn.ModuleDict({stage: self.task.build_metric() for stage in ("val", "test")})
        self.best_temperature = BestTemperature()
        self.calibration_error = CalibrationError()
        self.losses = nn.ModuleDict(
            {stage: MeanMetric().set_dtype(torch.float64) for stage in ("val", "test")}
        )

    @property
    def reads_pixels(self) -> bool:
        """Whether batches must hold pixels even if they hold all that `feature_specs` names."""
        return True

    @property
    def uses_images(self) -> bool:
        """Whether an answer depends on pictures."""
        kept = (spec for spec in self.feature_specs() if not spec.training_only)
        return self.reads_pixels or any(spec.source in ("views", "picture") for spec in kept)

    def feature_specs(self) -> list[FeatureSpec]:
        """What the method reads of pictures and texts that no training step changes; by default nothing."""
        return []

    @abstractmethod
    def encode(self, batch: Batch) -> Encoding:
        """States of the text in the light of the picture, (batch, tokens, hidden_size), and extra losses by name."""

    def set_head(self, hidden_size: int) -> None:
        """Give the module a new head for states of width ``hidden_size``; by default the text encoder's."""
        self.head = self.task.build_head(hidden_size, self.pooling, self.dropout)

    def check_positions(self, shift: int = 0) -> None:
        """Refuse a text that is too long for the encoder, if it starts ``shift`` positions late.

        Raises:
            ValueError: It is.
        """
        needed = self.schema.max_tokens + shift
        if self.text.max_positions < needed:
            late = f" and starts {shift} positions late" if shift else ""
            raise ValueError(
                f"text encoder has {self.text.max_positions} positions, data.max_tokens is {self.schema.max_tokens}"
                f"{late}: lower it by {needed - self.text.max_positions}"
            )

    def _take_over(self) -> None:
        """In a fit that continues no other one, take over the weights of ``init_from``."""
        if self.init_from is not None and self.trainer.ckpt_path is None:
            data = self.trainer.datamodule  # type: ignore[attr-defined]
            tokenizer = None if data is None else data.state_dict().get("tokenizer")
            rank_zero_info(initialise_from(self, self.init_from, tokenizer))

    @cached_property
    def _encode_in_training(self) -> Callable[[Batch], Encoding]:
        """`encode`, compiled if asked for; ``dynamic`` makes one graph for all lengths."""
        return torch.compile(self.encode, dynamic=True) if self.compiles else self.encode

    def encode_text(
        self, batch: Batch, prefix: Prefix | None = None, position_shift: int = 0
    ) -> Tensor:
        """A pass of the text encoder over the batch, (batch, tokens, hidden)."""
        states: Tensor = self.text(
            batch.input_ids, batch.attention_mask, batch.token_type_ids, prefix, position_shift
        )
        return states

    def forward(self, batch: Batch) -> list[Prediction]:
        """Answers for a batch of posts."""
        return self.task.predictions(batch, self.head.decode(self.encode(batch).states, batch))

    def predict(self, batch: Batch) -> list[Prediction]:
        """The same answers, with their probabilities."""
        states = self.encode(batch).states
        return self._with_probabilities(batch, states, self.head.decode(states, batch))

    def _with_probabilities(
        self, batch: Batch, states: Tensor, decoded: Tensor
    ) -> list[Prediction]:
        """What the head decoded as answers, with their probabilities."""
        predictions, parts = (
            self.task.predictions(batch, decoded),
            self.head.confidence(states, batch, decoded),
        )
        return self.task.with_probabilities(predictions, parts)

    def diagnose(self, batch: Batch) -> dict[str, Tensor]:
        """Why the method answers as it does: numbers of every post, from eval mode, without gradient.

        It changes nothing: neither weights, modes nor random numbers. A method adds its own.

        ============== ================================= ==============================================================
        view_support   (batch, views)                    log probability of the answer, minus that without the view
        view_change    (batch, views)                    how much of the states' length moves without the view
        representation (batch, words or 1, width)        what the head classifies, see `represent`
        prefix_mass    (batch, layers, words, views)     attention on a view's prefix positions, mean over heads
        prompt_mass    (batch, layers, words, prefix)    the same on each position, where they belong to no view
        ============== ================================= ==============================================================

        The first two are 0 for a masked view. One of the last two is there if the text encoder reads a prefix.
        """
        with inspecting(self):
            with watch_prefixes() as masses:
                states = self.encode(batch).states
            found = {
                "representation": self.represent(states, batch),
                **self._leave_views_out(states, batch),
            }
            if masses:
                found |= self._prefix_masses(mass_of_words(masses, batch), batch.view_mask.shape[1])
            return found

    def prefix_views(self, num_views: int) -> Tensor | None:
        """The view that each position of the method's prefix belongs to, (heads, prefix); None if they have no view."""
        return None

    def represent(self, states: Tensor, batch: Batch) -> Tensor:
        """What the head classifies: the states of words (batch, words, width), or one vector (batch, 1, width)."""
        pooled = self.head.pool(states, batch)
        return pooled.unsqueeze(1) if pooled.ndim == 2 else pooled

    def _prefix_masses(self, masses: Tensor, num_views: int) -> dict[str, Tensor]:
        """Attention masses (batch, layers, heads, words, prefix) by view, or by position."""
        owners = self.prefix_views(num_views)
        if owners is None:
            return {"prompt_mass": masses.mean(2)}
        return {"prefix_mass": mass_by_view(masses, owners, num_views)}

    def _leave_views_out(self, states: Tensor, batch: Batch) -> dict[str, Tensor]:
        """What leaving out each view in turn does to the answer and to the states, (batch, views) each."""
        answered = self.task.as_gold(batch, self.head.decode(states, batch))
        surprise = self.head.loss(states, answered)  # (batch,) minus log probability
        supports, changes = [], []
        for view in range(batch.view_mask.shape[1]):
            others = self.encode(without_view(batch, view)).states
            supports.append(self.head.loss(others, answered) - surprise)
            changes.append(relative_change(states, others, batch.attention_mask))
        found = {
            "view_support": torch.stack(supports, dim=1),
            "view_change": torch.stack(changes, dim=1),
        }
        return {name: values * batch.view_mask for name, values in found.items()}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Task loss plus the method's own."""
        encoding = self._encode_in_training(batch)
        task_loss = self.head.loss(encoding.states, batch).mean()
        loss = task_loss + sum(encoding.losses.values())
        parts = {f"train/{name}_loss": part.detach() for name, part in encoding.losses.items()}
        means = {"train/loss": loss.detach(), "train/task_loss": task_loss.detach(), **parts}
        self.log("train/loss_step", loss.detach(), on_step=True, prog_bar=True)
        self.log_dict(means, on_step=False, on_epoch=True, sync_dist=True, batch_size=len(batch))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Score a batch of the validation split."""
        states, _ = self._evaluate(batch, "val")
        self.best_temperature.update(
            self.head.losses_at(TEMPERATURES, states, batch)[:, batch.counted]
        )

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, list[Prediction]]:
        """Score a batch of the test split; the answers, with their probabilities, go to the callbacks."""
        predictions = self._with_probabilities(batch, *self._evaluate(batch, "test"))
        self.calibration_error.update(*self.task.judge(batch, predictions))
        return {"predictions": predictions}

    def predict_step(self, batch: Batch, batch_idx: int) -> list[Prediction]:
        """Answers for a batch, with their probabilities."""
        return self.predict(batch)

    def on_validation_epoch_end(self) -> None:
        """Log the validation scores, over all processes, and set the temperature of the answers' probabilities."""
        self._log_scores("val")
        self.head.temperature.copy_(self.best_temperature.compute())
        self.best_temperature.reset()

    def on_test_epoch_end(self) -> None:
        """Log the test scores, over all processes."""
        self._log_scores("test")
        self.log("test/calibration_error", self.calibration_error.compute())
        self.calibration_error.reset()

    def _evaluate(self, batch: Batch, stage: Stage) -> tuple[Tensor, Tensor]:
        """Add a batch to the metrics of a stage; its states, and what the head decodes of them."""
        states = self.encode(batch).states
        decoded = self.head.decode(states, batch)
        metric, loss = self._stage_metrics(stage)
        self.task.score(metric, batch, decoded)
        loss.update(self.head.loss(states, batch)[batch.counted])
        return states, decoded

    def _log_scores(self, stage: Stage) -> None:
        """Log and empty the metrics of a stage."""
        metric, loss = self._stage_metrics(stage)
        scores = {f"{stage}/{name}": value for name, value in metric.compute().items()}
        self.log(f"{stage}/f1", scores.pop(f"{stage}/f1"), prog_bar=True)
        self.log_dict({**scores, f"{stage}/loss": loss.compute().float()})
        metric.reset()
        loss.reset()

    def _stage_metrics(self, stage: Stage) -> tuple[Metric, MeanMetric]:
        """Scores and mean loss of a stage."""
        return self.metrics[stage], self.losses[stage]  # type: ignore[return-value]

    def pretrained_modules(self) -> list[nn.Module]:
        """Parts that train at ``text_lr``."""
        return [self.text]

    def head_modules(self) -> list[nn.Module]:
        """Parts that train at ``head_lr``."""
        return [self.head]

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Every trainable parameter in exactly one group: three learning rates, with and without decay."""
        owner = {
            parameter: "text"
            for module in self.pretrained_modules()
            for parameter in module.parameters()
        }
        owner |= {
            parameter: "head" for module in self.head_modules() for parameter in module.parameters()
        }
        undecayed = set(_undecayed(self))
        groups: dict[tuple[str, bool], list[nn.Parameter]] = {}
        for parameter in self.parameters():
            if parameter.requires_grad:
                groups.setdefault(
                    (owner.get(parameter, "fusion"), parameter in undecayed), []
                ).append(parameter)
        return [
            {
                "name": f"{name}_no_decay" if plain else name,
                "params": parameters,
                "lr": self.learning_rates[name],
                "weight_decay": 0.0 if plain else self.weight_decay,
            }
            for (name, plain), parameters in groups.items()
        ]

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW over the groups; linear warm-up, then linear decay to 0.

        Takes over ``init_from`` before: in `setup` the trainer does not know yet whether it continues a checkpoint, and
        after this the loaders are made, and with them the features of a frozen backbone.
        """
        self._take_over()
        use_sparse_gradients(self.modules(), self._takes_sparse_gradients())
        optimizer = EmbeddingAdamW(self.parameter_groups(), self.modules())
        steps = int(self.trainer.estimated_stepping_batches)
        schedule = get_linear_schedule_with_warmup(
            optimizer, round(self.warmup_ratio * steps), steps
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _takes_sparse_gradients(self) -> bool:
        """Whether all that touches gradients of embeddings takes sparse ones, as compilers and clipping do not."""
        alone = self.device.type == "cpu" and self.trainer.world_size == 1
        return alone and not self.compiles and not self.trainer.gradient_clip_val

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: LightningOptimizer | Optimizer,
        *args: Any,
        **settings: Any,
    ) -> None:
        """Step, and free the gradients at once: Lightning would hold them through the next forward pass."""
        super().optimizer_step(epoch, batch_idx, optimizer, *args, **settings)
        optimizer.zero_grad()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add all that building the module again takes, in plain values: see `mmie.methods.loading`."""
        settings = {name: value for name, value in self.init_args.items() if name != "schema"}
        init_args = {**settings, "pretrained": False, "init_from": None, **self.rebuild_args()}
        checkpoint.update(describe_method(full_name(type(self)), self.schema, init_args))

    def rebuild_args(self) -> dict[str, Any]:
        """Constructor arguments that build the same network where neither hub nor folder is at hand."""
        return {"text_encoder": self.text.config.to_dict()}


def _undecayed(module: nn.Module) -> Iterable[nn.Parameter]:
    """Biases, all weights of norms and embeddings, and what a timm model says itself, such as a ViT's positions."""
    for part in module.modules():
        spared: set[str] = getattr(part, "no_weight_decay", set)()
        yield from (parameter for name, parameter in part.named_parameters() if name in spared)
        for name, parameter in part.named_parameters(recurse=False):
            if (
                name.endswith("bias")
                or parameter.ndim < 2
                or isinstance(part, (*_NORMS, nn.Embedding))
            ):
                yield parameter
