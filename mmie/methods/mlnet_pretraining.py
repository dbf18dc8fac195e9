"""Pretraining of MLNet: three tasks on texts and pictures that need no labels.

Zhai et al., MLNet, Frontiers in Neurorobotics 17, 2023, https://doi.org/10.3389/fnbot.2023.1181143,
Section 3.2

1. Masked words (MLM): some pieces are hidden, and predicted from the others and all regions.
2. Masked regions (MVM): the pixels of some regions are hidden. The classes of their views are
   predicted from the whole text and the other regions.
3. Matching (VLM): pictures are classified as belonging to the text or to another post of the batch.
4. All but the predictors of pieces and classes is `MLNet`'s, under the same names, so that its
   ``init_from`` takes a checkpoint of this module.

======================  ======================================  ==========
paper                   here                                    shape
======================  ======================================  ==========
MLM (Equation 4)        `MLNetPretraining.word_loss`            ()
MVM (Equations 5 to 7)  `MLNetPretraining.region_loss`          ()
VLM                     `MLNet.match_loss`                      ()
======================  ======================================  ==========

The paper's scores are those of a fine-tuning after this pretraining.

**Departures.**

Those of the network are listed in `mmie.methods.mlnet`.

- "The two converters are trained separately" is read as separate parameters. All are trained at
  once, by the sum of the three losses with equal weights. The paper gives no weights.
- The targets of MVM are classes and distributions of an object detector, which the published crops
  do not hold. The targets here come from the frozen backbone's own ImageNet classifier on the
  region's view: its distribution (Equation 7), or its best class (Equation 6,
  ``mvm_target: class``).
- The paper prints a minus between the two arguments of Equations 6 and 7. The target stands first
  in the divergence, as in UNITER, which it cites.
- Losses of words and regions are means over what was masked. Equations 6 and 7 print sums.
- The paper masks pixel values by -1 and names no scale. Here pixels run from 0 to 1, before mean
  and deviation are removed. The masked pixels are the square behind a region, and neighbouring
  regions of the same view are computed from them, too. ``mvm_mask: features`` masks the
  backbone's vectors instead, which needs no pass of the backbone in every step.
- The paper names no shares. 15 % of the pieces are chosen, of which 80 % become the mask token and
  10 % a random piece, as in BERT, and 15 % of the regions.
- The characters of a word are hidden with any of its pieces, since they would reveal them.
- VLM has no equation. It is the cross-entropy of the gates' scores (Equation 8) for posts with
  their own picture and with that of another post. A mismatch has half the weight of a match.
- The paper names no optimiser, rates and epochs of the pretraining. The configurations take those
  of the fine-tuning (``head_lr`` for the predictors) and 20 epochs. The epoch is selected by the
  validation loss.

Beyond the paper, which has one picture:

- Regions of all pictures (``data.num_images``) are hidden with the same probability. In the
  matching, a post gets all pictures and crops of another post together.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar, Literal

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional

from mmie.blocks.features import FeatureSpec, backbone_feature_spec, cached_or_computed_features
from mmie.blocks.precision import at_least_float32
from mmie.blocks.vision import VisualBackbone
from mmie.methods.mlnet import MLNet
from mmie.methods.regularisation import Regularisation
from mmie.types import Batch, Encoding, MmieError, Prediction, Schema

# shares of the chosen pieces, as in BERT; the others are replaced by random pieces
_MASKED_SHARE = 0.8
_UNCHANGED_SHARE = 0.1
# -1 where black is 0 and white 1, in the values of pixels from 0 to 255
_HIDDEN_PIXEL = -255.0
MaskedVision = Literal["pixels", "features"]
VisionTarget = Literal["distribution", "class"]


class PredictionUnsupported(MmieError, RuntimeError):
    """Error for entities or relations that are requested from a pretraining."""


class MLNetPretraining(MLNet):
    """MLNet's encoder with three tasks that need no labels, and without LSTM and head.

    Args:
        schema: Description of the data. The command line links it from the data module.
        text_ratio: Share of the words' pieces that are chosen for MLM.
        region_ratio: Share of the regions that are hidden for MVM.
        mvm_mask: Hide the ``pixels`` of a region, for which the backbone runs in every step, or the
            ``features`` that the backbone computes from all pixels.
        mvm_target: Predict the classifier's ``distribution`` for a region's view, or its best
            ``class``.
        vision_backbone: Name of a ``timm`` model with its classifier, or local folder of one.
        pretrained_vision: Load the weights of backbone and classifier.
        **shared: See `MLNet`, whose ``match_weight``, ``lstm_size`` and ``lstm_dropout`` have no
            effect here.

    Raises:
        ValueError: A share is out of range, ``mvm_mask`` or ``mvm_target`` is unknown, the
            tokenizer has no mask token, the backbone no classifier, or a loss of regularisation is
            set.
    """

    monitor: ClassVar[tuple[str, Literal["min", "max"]]] = ("val/loss", "min")

    def __init__(
        self,
        schema: Schema,
        text_ratio: float = 0.15,
        region_ratio: float = 0.15,
        vision_backbone: str = "resnet18",
        pretrained_vision: bool = True,
        mvm_mask: MaskedVision = "pixels",
        mvm_target: VisionTarget = "distribution",
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
        if mvm_mask not in ("pixels", "features"):
            raise ValueError(f"mvm_mask is {mvm_mask!r}: expected pixels or features")
        if mvm_target not in ("distribution", "class"):
            raise ValueError(f"mvm_target is {mvm_target!r}: expected distribution or class")
        if self.regularisation != Regularisation() or self.label_smoothing:
            raise ValueError(
                "a pretraining has losses of its own: leave r_drop, adversarial, dropout_samples "
                "and label_smoothing to the fit that starts from it"
            )
        # they are not used, and every weight must get a gradient
        del self.head, self.bilstm
        self.mask_id = schema.mask_id
        self.text_ratio = text_ratio
        self.region_ratio = region_ratio
        self.mvm_mask = mvm_mask
        self.mvm_target = mvm_target
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

    @classmethod
    def upgrade_init_args(
        cls, init_args: dict[str, Any], state_dict: Mapping[str, Tensor]
    ) -> dict[str, Any]:
        """Return the constructor arguments of a checkpoint for this version of the method."""
        upgraded = super().upgrade_init_args(init_args, state_dict)
        return upgraded if upgraded is init_args else {"mvm_mask": "features", **upgraded}

    @property
    def reads_pixels(self) -> bool:
        """Whether the backbone is trained, or pixels are hidden."""
        return super().reads_pixels or self.mvm_mask == "pixels"

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
        states = self.fuse(text, regions, batch).text  # (batch, tokens, hidden)
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
        scores = self.match_scores(text, regions, batch)  # (batch, gates)
        return {
            "mlm": self.word_loss(regions, batch, generator),
            "mvm": self.region_loss(text, grid, batch, generator),
            "vlm": self.match_loss(text, grid, scores, batch),
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
        states = self.fuse(self.lower_text_layers(hidden), regions, hidden).text
        scores = self.pieces(states[is_chosen], self.embeddings)  # (chosen, vocabulary)
        pieces = batch.input_ids[is_chosen]  # (chosen,)
        total = functional.cross_entropy(at_least_float32(scores), pieces, reduction="sum")
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
        """Compute L_MVM = E f(v_m | v_rest, w) (Equation 5), the mean over hidden regions.

        f is the divergence KL(c(v_m) || g(v_m)) from the distribution of the classifier
        (Equation 7), or the cross-entropy with its best class (Equation 6).

        Args:
            text: (batch, tokens, hidden) before the fusion.
            grid: (batch, regions, channels) of unmasked views.
            batch: The posts.
            generator: Draws the regions.

        Returns:
            (), 0 if no region is hidden.
        """
        is_hidden = _draw(self.region_mask(grid, batch), self.region_ratio, generator)
        hidden_grid = self.hide_regions(grid, is_hidden, batch)  # (batch, regions, channels)
        regions = self.encode_regions(hidden_grid, batch)  # (batch, regions, hidden)
        regions = self.fuse(text, regions, batch).regions  # (batch, regions, hidden)
        posts, indices = is_hidden.nonzero(as_tuple=True)  # (hidden regions,) each
        regions_per_view = grid.shape[1] // batch.view_mask.shape[1]
        views = indices // regions_per_view  # (hidden regions,)
        # (hidden regions, classes) each
        scores = at_least_float32(self.objects(regions[posts, indices]))
        targets = self.view_classes(batch)[posts, views]
        if self.mvm_target == "class":
            total = functional.cross_entropy(scores, targets.argmax(-1), reduction="sum")
        else:
            total = functional.kl_div(scores.log_softmax(-1), targets, reduction="sum")
        return total / max(1, len(posts))

    def hide_regions(self, grid: Tensor, is_hidden: Tensor, batch: Batch) -> Tensor:
        """Compute the backbone's features with some regions hidden.

        Args:
            grid: (batch, regions, channels) of unmasked views.
            is_hidden: (batch, regions) bool
            batch: The posts.

        Returns:
            (batch, regions, channels)
        """
        if self.mvm_mask == "features":
            return grid.masked_fill(is_hidden.unsqueeze(-1), -1)
        if batch.pixels is None:
            return grid
        height, width = self.vision.shapes[-1][1:]
        cells = is_hidden.unflatten(1, (-1, height, width))  # (batch, views, height, width)
        size = batch.pixels.shape[-2:]
        mask = functional.interpolate(cells.float(), size).bool()  # each pixel by its cell
        pixels = batch.pixels.to(self.vision.mean.dtype)  # (batch, views, 3, size, size)
        pixels = pixels.masked_fill(mask.unsqueeze(2), _HIDDEN_PIXEL)
        features = {name: rows for name, rows in batch.features.items() if name != "vision"}
        return self.region_grid(replace(batch, pixels=pixels, features=features))

    def view_classes(self, batch: Batch) -> Tensor:
        """Compute the class probabilities of each view by the backbone's own classifier.

        Returns:
            (batch, views, classes), 0 for masked views.
        """
        # (batch, views, classes)
        (logits,) = cached_or_computed_features(self.classifier, "classifier", batch)
        return at_least_float32(logits).softmax(-1) * batch.view_mask.unsqueeze(-1)

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
