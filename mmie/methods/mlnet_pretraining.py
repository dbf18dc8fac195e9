"""Pretraining of MLNet: three tasks on texts and pictures that need no labels.

Zhai et al., MLNet, Frontiers in Neurorobotics 17, 2023, https://doi.org/10.3389/fnbot.2023.1181143,
Section 3.2

1. Masked words (MLM): some pieces are hidden, and predicted from the others and all regions.
2. Masked regions (MVM): some regions are hidden. The classes of their views are predicted from the
   whole text and the other regions.
3. Matching (VLM): pictures are classified as belonging to the text or to another post of the batch.
4. All but the predictors of pieces and classes is `MLNet`'s, under the same names, so that its
   ``init_from`` takes a checkpoint of this module.

=====================  =======================================  ==========
paper                  here                                     shape
=====================  =======================================  ==========
MLM (Equation 4)       `MLNetPretraining.word_loss`             ()
MVM (Equations 5, 7)   `MLNetPretraining.region_loss`           ()
VLM                    `MLNet.match_loss`                       ()
=====================  =======================================  ==========

**Departures.**

- The paper's targets of MVM are classes from an object detector (Equation 6). Crop indices do not
  hold them. The target here is the distribution that the backbone's own ImageNet classifier gives
  the region's view (Equation 7).
- The characters of a word are hidden with any of its pieces, since they would reveal them.
- The three losses are added with equal weights. The paper gives none.
"""

from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from mmie.blocks.features import FeatureSpec, backbone_feature_spec, cached_or_computed_features
from mmie.blocks.vision import VisualBackbone
from mmie.methods.mlnet import MLNet
from mmie.types import Batch, Encoding, MmieError, Prediction, Schema

# shares of the chosen pieces, as in BERT; the others are replaced by random pieces
_MASKED_SHARE = 0.8
_UNCHANGED_SHARE = 0.1


class PredictionUnsupported(MmieError, RuntimeError):
    """Error for entities or relations that are requested from a pretraining."""


class MLNetPretraining(MLNet):
    """MLNet's encoder with three tasks that need no labels, and without LSTM and head.

    Args:
        schema: Description of the data. The command line links it from the data module.
        text_ratio: Share of the words' pieces that are chosen for MLM.
        region_ratio: Share of the regions that are hidden for MVM.
        vision_backbone: Name of a ``timm`` model with its classifier, or local folder of one.
        pretrained_vision: Load the weights of backbone and classifier.
        **shared: See `MLNet`, whose ``match_weight``, ``lstm_size`` and ``lstm_dropout`` have no
            effect here.

    Raises:
        ValueError: A share is out of range, the tokenizer has no mask token, or the backbone no
            classifier.
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
                f"text_ratio {text_ratio} and region_ratio {region_ratio} must be above 0, "
                "at most 1"
            )
        # they are not used, and every weight must get a gradient
        del self.head, self.bilstm
        self.mask_id = schema.mask_id
        self.text_ratio = text_ratio
        self.region_ratio = region_ratio
        self.pieces = PiecePredictor(self.text.hidden_size, len(self.embeddings))
        load_weights = self.pretrained and pretrained_vision
        self.classifier = VisualBackbone(
            vision_backbone, load_weights, "logits", image_size=schema.image_size
        )
        self.objects = nn.Linear(self.text.hidden_size, self.classifier.channels[0])

    @property
    def embeddings(self) -> Tensor:
        """Embeddings of the text encoder's pieces, (vocabulary, hidden)."""
        weight: Tensor = self.text.model.get_input_embeddings().weight  # type: ignore[assignment]
        return weight

    def feature_specs(self) -> list[FeatureSpec]:
        """Specify the features of a frozen backbone and the scores of the classifier."""
        return [*super().feature_specs(), backbone_feature_spec(self.classifier, "classifier")]

    def head_modules(self) -> list[nn.Module]:
        """Return the parts that train at ``head_lr``."""
        return [self.pieces, self.objects]

    def encode(self, batch: Batch) -> Encoding:
        """Encode the text with nothing hidden, and compute the three losses."""
        text = self.lower_text_layers(batch)  # (batch, tokens, hidden)
        regions = self.encode_regions(self.region_grid(batch), batch)  # (batch, regions, hidden)
        states, _ = self.fuse(text, regions, batch)  # (batch, tokens, hidden)
        return Encoding(states, self.pretraining_losses(batch))

    def pretraining_losses(
        self, batch: Batch, generator: Generator | None = None
    ) -> dict[str, Tensor]:
        """Compute the losses of the three tasks by name.

        Args:
            batch: The posts.
            generator: Draws what is hidden, on the CPU.
        """
        text = self.lower_text_layers(batch)  # (batch, tokens, hidden)
        grid = self.region_grid(batch)  # (batch, regions, channels)
        regions = self.encode_regions(grid, batch)  # (batch, regions, hidden)
        return {
            "mlm": self.word_loss(regions, batch, generator),
            "mvm": self.region_loss(text, grid, batch, generator),
            "vlm": self.match_loss(text, regions, batch),
        }

    def word_loss(
        self, regions: Tensor, batch: Batch, generator: Generator | None = None
    ) -> Tensor:
        """Compute L_MLM = -E log P(w_m | w_rest, v) (Equation 4), the mean over chosen pieces.

        Args:
            regions: (batch, regions, hidden) before the fusion.
            batch: The posts.
            generator: Draws the pieces.

        Returns:
            (), 0 if no piece was chosen.
        """
        is_chosen = _draw(batch.text_mask, self.text_ratio, generator)  # (batch, tokens)
        hidden = self.hide_words(batch, is_chosen, generator)
        states, _ = self.fuse(self.lower_text_layers(hidden), regions, hidden)
        scores = self.pieces(states[is_chosen], self.embeddings)  # (chosen, vocabulary)
        pieces = batch.input_ids[is_chosen]  # (chosen,)
        total = functional.cross_entropy(scores.float(), pieces, reduction="sum")
        return total / is_chosen.sum().clamp(min=1)

    def hide_words(
        self, batch: Batch, is_chosen: Tensor, generator: Generator | None = None
    ) -> Batch:
        """Mask, replace or keep the chosen pieces, and hide the characters of their words.

        Of the chosen pieces 80 % become the mask token and 10 % a random piece (Devlin et al.,
        BERT, NAACL 2019).

        Args:
            batch: The posts.
            is_chosen: (batch, tokens) bool
            generator: Draws which pieces are masked, replaced or kept.
        """
        ids = batch.input_ids  # (batch, tokens)
        share = torch.rand(ids.shape, generator=generator).to(ids.device)  # (batch, tokens)
        random_ids = torch.randint(self.schema.vocab_size, ids.shape, generator=generator)
        kept_or_random = torch.where(share < 1 - _UNCHANGED_SHARE, random_ids.to(ids.device), ids)
        hidden_ids = torch.where(share < _MASKED_SHARE, self.mask_id, kept_or_random)
        num_chosen = torch.zeros_like(batch.characters[..., 0])  # (batch, words)
        word_of_token = batch.token_words.clamp(min=0)  # (batch, tokens)
        num_chosen = num_chosen.scatter_add(1, word_of_token, is_chosen.long())
        is_unchanged = (num_chosen == 0).unsqueeze(-1)  # (batch, words, 1)
        return replace(
            batch,
            input_ids=torch.where(is_chosen, hidden_ids, ids),
            characters=batch.characters * is_unchanged,
        )

    def region_loss(
        self, text: Tensor, grid: Tensor, batch: Batch, generator: Generator | None = None
    ) -> Tensor:
        """Compute L_MVM = E KL(c(v_m) || g(v_m)) (Equations 5, 7), the mean over hidden regions.

        Args:
            text: (batch, tokens, hidden) before the fusion.
            grid: (batch, regions, channels). Hidden regions become -1.
            batch: The posts.
            generator: Draws the regions.

        Returns:
            (), 0 if no region is hidden.
        """
        is_hidden = _draw(self.region_mask(grid, batch), self.region_ratio, generator)
        hidden_grid = grid.masked_fill(is_hidden.unsqueeze(-1), -1)  # (batch, regions, channels)
        regions = self.encode_regions(hidden_grid, batch)  # (batch, regions, hidden)
        _, regions = self.fuse(text, regions, batch)  # (batch, regions, hidden)
        posts, indices = is_hidden.nonzero(as_tuple=True)  # (hidden regions,) each
        regions_per_view = grid.shape[1] // batch.view_mask.shape[1]
        views = indices // regions_per_view  # (hidden regions,)
        scores = self.objects(regions[posts, indices])  # (hidden regions, classes)
        targets = self.view_classes(batch)[posts, views]  # (hidden regions, classes)
        total = functional.kl_div(scores.float().log_softmax(-1), targets, reduction="sum")
        return total / max(1, len(posts))

    def view_classes(self, batch: Batch) -> Tensor:
        """Compute the class probabilities of each view by the backbone's own classifier.

        Returns:
            (batch, views, classes), 0 for masked views.
        """
        # (batch, views, classes)
        (logits,) = cached_or_computed_features(self.classifier, "classifier", batch)
        return logits.float().softmax(-1) * batch.view_mask.unsqueeze(-1)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Compute and log the sum of the three losses."""
        return self._log_losses("train", batch, self.pretraining_losses(batch))

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log the three losses, with the same pieces and regions hidden in every epoch."""
        generator = torch.Generator().manual_seed(batch_idx)
        self._log_losses("val", batch, self.pretraining_losses(batch, generator))

    def on_validation_epoch_end(self) -> None:
        """Do nothing, since the steps log the losses."""

    def forward(self, batch: Batch) -> list[Prediction]:
        """Raise, since a pretraining cannot predict.

        Raises:
            PredictionUnsupported: Always.
        """
        raise PredictionUnsupported(
            "a pretraining finds no entities or relations: fine-tune MLNet from its checkpoint "
            "with --model.init_args.init_from"
        )

    def predict(self, batch: Batch) -> list[Prediction]:
        """Raise as `forward` does."""
        return self(batch)  # type: ignore[no-any-return]

    def diagnose(self, batch: Batch) -> dict[str, Tensor]:
        """Raise as `forward` does."""
        self(batch)
        return {}

    def test_step(self, batch: Batch, batch_idx: int) -> dict[str, list[Prediction]]:
        """Raise as `forward` does."""
        return {"predictions": self(batch)}

    def _log_losses(self, stage: str, batch: Batch, losses: dict[str, Tensor]) -> Tensor:
        """Log the losses and their sum by epoch, and return the sum."""
        total = torch.stack([*losses.values()]).sum()
        logged = {f"{stage}/{name}_loss": loss.detach() for name, loss in losses.items()}
        logged[f"{stage}/loss"] = total.detach()
        self.log_dict(logged, on_step=False, on_epoch=True, sync_dist=True, batch_size=len(batch))
        return total


class PiecePredictor(nn.Module):
    """Scores of every piece for states of hidden pieces (Devlin et al., BERT, NAACL 2019).

    Args:
        hidden_size: Width of the states.
        vocab_size: Number of pieces.
    """

    def __init__(self, hidden_size: int, vocab_size: int) -> None:
        super().__init__()
        self.transform = nn.Linear(hidden_size, hidden_size)
        self.norm = nn.LayerNorm(hidden_size)
        self.bias = nn.Parameter(torch.zeros(vocab_size))

    def forward(self, states: Tensor, embeddings: Tensor) -> Tensor:
        """Compute E Norm(GELU(W h)) + b.

        Args:
            states: (positions, hidden) h.
            embeddings: (vocabulary, hidden) E, the embeddings of the text encoder.

        Returns:
            (positions, vocabulary)
        """
        transformed = self.norm(functional.gelu(self.transform(states)))  # (positions, hidden)
        return functional.linear(transformed, embeddings, self.bias)


def _draw(mask: Tensor, share: float, generator: Generator | None) -> Tensor:
    """Draw a random share of the positions where a mask is True, in the shape of the mask."""
    return mask & (torch.rand(mask.shape, generator=generator).to(mask.device) < share)
