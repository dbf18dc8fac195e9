"""Pretraining of MLNet: what picture and text of a post say of each other, without any label.

Zhai et al., MLNet, Frontiers in Neurorobotics 17, 2023, https://doi.org/10.3389/fnbot.2023.1181143, Section 3.2

1. Masked words (MLM): some pieces are hidden, all regions are seen; which pieces were they?
2. Masked regions (MVM): some regions are hidden, the whole text is seen; what do their views show?
3. Matching (VLM): does the picture belong to the text, or to another post of the batch?

=====================  =======================================  ==========
paper                  here                                     shape
=====================  =======================================  ==========
MLM (Equation 4)       `MLNetPretraining.word_loss`             ()
MVM (Equations 5, 7)   `MLNetPretraining.region_loss`           ()
VLM                    `MLNet.match_loss`                       ()
=====================  =======================================  ==========

All but the predictors of pieces and objects is `MLNet`'s, name by name: its ``init_from`` takes a checkpoint of this.

**Departures.** The paper's targets of MVM are classes that an object detector found. Crop indices do not hold them,
so that Equation 6 cannot be computed; the target is the distribution that the backbone's own ImageNet classifier gives
the region's view, by Equation 7. The characters of a word are hidden with any of its pieces, which they would spell.
The three losses are added with equal weights; the paper gives none.
"""

from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmie.blocks.features import FeatureSpec, backbone_feature_spec, cached_or_computed_features
from mmie.blocks.vision import VisualBackbone
from mmie.methods.mlnet import MLNet
from mmie.types import Batch, Encoding, MmieError, Prediction, Schema

_HIDDEN, _KEPT = (
    0.8,
    0.1,
)  # of the chosen pieces; the others are replaced by random ones, as in BERT


class NoAnswers(MmieError, RuntimeError):
    """A pretraining was asked for entities or relations."""


class MLNetPretraining(MLNet):
    """MLNet's encoder with three tasks that need no labels, and without LSTM and head.

    Args:
        schema: What the data module says of the data; the command line links it.
        text_ratio: Share of the words' pieces that are chosen for MLM.
        region_ratio: Share of the regions that are hidden for MVM.
        vision_backbone: Name of a ``timm`` model with its classifier, or local folder of one.
        pretrained_vision: Load the weights of backbone and classifier.
        **shared: See `MLNet`, whose ``match_weight``, ``lstm_size`` and ``lstm_dropout`` mean nothing here.

    Raises:
        ValueError: A share is out of range, the tokenizer has no mask token, or the backbone no classifier.
    """

    monitor: ClassVar[tuple[str, Literal["min", "max"]]] = ("val/loss", "min")

    def __init__(
        self,
        schema: Schema,
        text_ratio: float = 0.15,
        region_ratio: float = 0.15,
        vision_backbone: str = "resnet18",
        pretrained_vision: bool = True,
        **shared: Any,
    ) -> None:
        super().__init__(
            schema, vision_backbone=vision_backbone, pretrained_vision=pretrained_vision, **shared
        )
        if schema.mask_id is None:
            raise ValueError(
                "the tokenizer has no mask token: name a text encoder that was trained with one"
            )
        if not (0 < text_ratio <= 1 and 0 < region_ratio <= 1):
            raise ValueError(
                f"text_ratio {text_ratio} and region_ratio {region_ratio} must be above 0, at most 1"
            )
        del (
            self.head,
            self.bilstm,
        )  # nothing is answered, and a weight without gradient is never right
        self.mask_id, self.text_ratio, self.region_ratio = schema.mask_id, text_ratio, region_ratio
        self.pieces = PiecePredictor(self.text.hidden_size, len(self.embeddings))
        load = self.pretrained and pretrained_vision
        self.classifier = VisualBackbone(
            vision_backbone, load, "logits", image_size=schema.image_size
        )
        self.objects = nn.Linear(self.text.hidden_size, self.classifier.channels[0])

    @property
    def embeddings(self) -> Tensor:
        """What the text encoder reads for every piece, (vocabulary, hidden)."""
        weight: Tensor = self.text.model.get_input_embeddings().weight  # type: ignore[assignment]
        return weight

    def feature_specs(self) -> list[FeatureSpec]:
        """The features of the backbone, if it is frozen, and what the classifier says."""
        return [*super().feature_specs(), backbone_feature_spec(self.classifier, "classifier")]

    def head_modules(self) -> list[nn.Module]:
        """Parts that train at ``head_lr``."""
        return [self.pieces, self.objects]

    def encode(self, batch: Batch) -> Encoding:
        """States of the text after the fusion, nothing hidden, (batch, tokens, hidden), and the three losses."""
        states, _ = self.fuse(
            self.read_text(batch), self.read_pictures(self.grid(batch), batch), batch
        )
        return Encoding(states, self.pretraining_losses(batch))

    def pretraining_losses(
        self, batch: Batch, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """The losses of the three tasks by name; ``generator``, on the CPU, draws what is hidden."""
        text, grid = self.read_text(batch), self.grid(batch)
        regions = self.read_pictures(grid, batch)
        return {
            "mlm": self.word_loss(regions, batch, generator),
            "mvm": self.region_loss(text, grid, batch, generator),
            "vlm": self.match_loss(text, regions, batch),
        }

    def word_loss(
        self, regions: Tensor, batch: Batch, generator: torch.Generator | None = None
    ) -> Tensor:
        """L_MLM = -E log P(w_m | w_rest, v) (Equation 4), mean over chosen pieces; 0 if none was chosen.

        Args:
            regions: (batch, regions, hidden) before the fusion.
            batch: The posts.
            generator: Draws the pieces.
        """
        chosen = _draw(batch.text_mask, self.text_ratio, generator)  # (batch, tokens)
        hidden = self.hide_words(batch, chosen, generator)
        states, _ = self.fuse(self.read_text(hidden), regions, hidden)
        scores = self.pieces(states[chosen], self.embeddings)  # (chosen, vocabulary)
        total = functional.cross_entropy(scores.float(), batch.input_ids[chosen], reduction="sum")
        return total / chosen.sum().clamp(min=1)

    def hide_words(
        self, batch: Batch, chosen: Tensor, generator: torch.Generator | None = None
    ) -> Batch:
        """The batch with chosen pieces (batch, tokens) masked, replaced or kept, and their words without characters.

        Of the chosen ones 80 % become the mask token, 10 % a random piece (Devlin et al., BERT, NAACL 2019).
        """
        ids = batch.input_ids
        fate = torch.rand(ids.shape, generator=generator).to(ids.device)
        randoms = torch.randint(self.schema.vocab_size, ids.shape, generator=generator).to(
            ids.device
        )
        changed = torch.where(
            fate < _HIDDEN, self.mask_id, torch.where(fate < 1 - _KEPT, randoms, ids)
        )
        touched = torch.zeros_like(batch.characters[..., 0])  # (batch, words)
        touched = touched.scatter_add(1, batch.token_words.clamp(min=0), chosen.long())
        spared = (touched == 0).unsqueeze(-1)
        return replace(
            batch, input_ids=torch.where(chosen, changed, ids), characters=batch.characters * spared
        )

    def region_loss(
        self, text: Tensor, grid: Tensor, batch: Batch, generator: torch.Generator | None = None
    ) -> Tensor:
        """L_MVM = E KL(c(v_m) || g(v_m)) (Equations 5, 7), mean over hidden regions; 0 if none is hidden.

        Args:
            text: (batch, tokens, hidden) before the fusion.
            grid: (batch, regions, channels); hidden regions become -1.
            batch: The posts.
            generator: Draws the regions.
        """
        hidden = _draw(
            self.region_mask(grid, batch), self.region_ratio, generator
        )  # (batch, regions)
        regions = self.read_pictures(grid.masked_fill(hidden.unsqueeze(-1), -1), batch)
        _, regions = self.fuse(text, regions, batch)
        posts, places = hidden.nonzero(as_tuple=True)  # (hidden regions,) each
        views = places // (grid.shape[1] // batch.view_mask.shape[1])
        guesses = (
            self.objects(regions[posts, places]).float().log_softmax(-1)
        )  # (hidden regions, classes)
        total = functional.kl_div(guesses, self.view_classes(batch)[posts, views], reduction="sum")
        return total / max(1, len(posts))

    def view_classes(self, batch: Batch) -> Tensor:
        """What the backbone's own classifier sees in each view: probabilities (batch, views, classes), 0 if masked."""
        (logits,) = cached_or_computed_features(
            self.classifier, "classifier", batch
        )  # (batch, views, classes)
        return logits.float().softmax(-1) * batch.view_mask.unsqueeze(-1)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Sum of the three losses."""
        return self._log_losses("train", batch, self.pretraining_losses(batch))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """The same; in every epoch the same pieces and regions are hidden."""
        self._log_losses(
            "val", batch, self.pretraining_losses(batch, torch.Generator().manual_seed(batch_idx))
        )

    def on_validation_epoch_end(self) -> None:
        """Nothing: the losses are logged by step."""

    def forward(self, batch: Batch) -> list[Prediction]:
        """Refuse to answer.

        Raises:
            NoAnswers: Always.
        """
        raise NoAnswers(
            "a pretraining finds no entities or relations: fine-tune MLNet from its checkpoint with "
            "--model.init_args.init_from"
        )

    def predict(self, batch: Batch) -> list[Prediction]:
        """Refuse to answer; see `forward`."""
        return self(batch)  # type: ignore[no-any-return]

    def diagnose(self, batch: Batch) -> dict[str, Tensor]:
        """Refuse to explain answers that there are not; see `forward`."""
        self(batch)
        return {}

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, list[Prediction]]:
        """Refuse to answer; see `forward`."""
        return {"predictions": self(batch)}

    def _log_losses(self, stage: str, batch: Batch, losses: dict[str, Tensor]) -> Tensor:
        """Log the losses and their sum, by epoch; the sum."""
        total = torch.stack([*losses.values()]).sum()
        values = {f"{stage}/{name}_loss": loss.detach() for name, loss in losses.items()}
        values[f"{stage}/loss"] = total.detach()
        self.log_dict(values, on_step=False, on_epoch=True, sync_dist=True, batch_size=len(batch))
        return total


class PiecePredictor(nn.Module):
    """E Norm(GELU(W h)) + b, with E the embeddings that the encoder reads (Devlin et al., BERT, NAACL 2019).

    Args:
        hidden_size: Width of the states.
        vocab_size: Rows of E.
    """

    def __init__(self, hidden_size: int, vocab_size: int) -> None:
        super().__init__()
        self.transform = nn.Linear(hidden_size, hidden_size)
        self.norm = nn.LayerNorm(hidden_size)
        self.bias = nn.Parameter(torch.zeros(vocab_size))

    def forward(self, states: Tensor, embeddings: Tensor) -> Tensor:
        """(positions, hidden) and E (vocabulary, hidden) -> (positions, vocabulary)."""
        transformed = self.norm(functional.gelu(self.transform(states)))
        return functional.linear(transformed, embeddings, self.bias)


def _draw(mask: Tensor, share: float, generator: torch.Generator | None) -> Tensor:
    """A random share of what a mask holds."""
    return mask & (torch.rand(mask.shape, generator=generator).to(mask.device) < share)
