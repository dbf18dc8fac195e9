"""DGHC: views weighted by their correlation with the text, then by gates in every layer.

Liu, Yang, Yu, Bu, DGHC: A Hybrid Algorithm for Multi-Modal Named Entity Recognition Using Dynamic
Gating and Correlation Coefficients With Visual Enhancements, IEEE Access 2024,
https://doi.org/10.1109/ACCESS.2024.3400250

1. CLIP's vision tower, which is trained, gives one vector per view.
2. A first pass of the text encoder gives h, the vector of the whole text.
3. h and the global picture give correlation coefficients, which scale the vector of every view.
4. In every text layer a softmax gate weighs the views. Each view gives one position of the layer's
   prefix keys and values.
5. A second pass of the text encoder attends to them in every layer. The shared head classifies its
   states.

===============================  ================================  =================================
paper                            here                              shape
===============================  ================================  =================================
V (Equation 1)                   `DGHC.view_vectors`               (batch, views, hidden)
h_[CLS] (Equation 9)             `DGHC.text_vector`                (batch, hidden)
M, C (Equations 2, 3)            `Correlation.coefficients`        (batch, hidden)
V^C (Equations 4, 5)             `Correlation.forward`             (batch, views, hidden)
gates g_l (Equations 6-8)        `ViewGates.forward`               (layers, batch, views)
prefix (Equation 13)             `PrefixProjection`                (layers, batch, heads, views,
                                 (`mmie.blocks.prefix_projection`) head_size)
attention (Equations 10-12, 14)  `mmie.blocks.prefix_attention`    (batch, tokens, hidden)
===============================  ================================  =================================

**Departures.**

Guessed where the paper is silent or contradicts itself:

- The paper does not say where h comes from, which Equation 2 needs before the text is encoded. Here
  it is from a pass without prefix, with gradient, or, with ``cls_source: embeddings``, the mean of
  the input embeddings, which saves that pass.
- M is a number and C a vector, although the paper calls both matrices. In Equation 4, which prints
  C v_i without a sign, the product is taken element by element, since then all shapes fit.
- Equation 1 is V = CLIP(...) alone. Its width becomes that of the text by one linear map with bias,
  which is left out where the widths agree. The paper names ``prompt_dim`` = 800 without a place:
  ``view_projection: mlp`` puts it between two linear maps with tanh. ``prompt_len`` = 4 is the
  number of views.
- The vector of a view is the tower's ``[CLS]`` state behind its last norm, ahead of CLIP's
  projection.
- V_g = gate * V^C is printed nowhere, and the paper's algorithm assigns the softmax itself to V_g.
  One gate for each view is the reading of Section III-E.
- "w/o Gating" gives every readable view the weight 1 / (number of readable views) with
  ``gating: uniform``, which keeps the scale of the prefix. ``gating: ones`` gives each weight 1.
- "w/o Augmentation" leaves the global picture alone: ``num_objects: 0``.
- The gates' linear maps (Equation 7) and the prefix projections (Equation 13) have biases. Leaky
  ReLU has slope 0.01.
- sqrt(d) of Equation 14 is the square root of the width of a head.
- Initial values: W_TI has standard deviation 1/d, so that tanh is not flat at M, and the bias of
  Equation 4 is 1, so that views pass nearly unchanged. Otherwise the backbone would train through a
  product of small numbers.
- Models: ``bert-base-uncased`` and the vision tower of CLIP ViT-B/32. The paper says BERT-base and
  CLIP-base.
- Texts are cut at 128 tokens. The paper prints ``max_seq`` 12.

Different from the paper:

- A view that is absent is masked, in the mean of Equation 7 and the softmax of Equation 8 too. An
  absent global picture counts as v_i = 0.
- Equation 16 is a sum of log p without a minus. Here it is the mean of -log p over the posts.
- The paper selects three crops at random, and does not say when. In training they are drawn anew in
  every epoch from all crops of the index (``data.random_crops: true``). In evaluation they are the
  first three, since the index holds the best first.
- BIO tags of the corpora are converted to BIOES, and the CRF rules out impossible transitions.
- The paper gives one learning rate, 3e-5, although its algorithm names a rate each for BERT, CLIP
  and CRF. Here the head has its own (1e-2 for entities, 1e-3 for relations).
- The optimiser is AdamW, with weight decay 0.01 on everything but biases, norms and embeddings, and
  the rates fall linearly to 0 after the warm-up. The paper names neither.
- Pictures are resized at the short side and cut at the centre. The paper does not say how.
- Validation starts with the first epoch. The paper starts with the third on Twitter-2015.
- Relations, which the paper does not have, are classified from the states of both entity markers.

Beyond the paper, which has one picture:

- Each further picture (``data.num_images``) is a view with gates and a prefix position of its own,
  ahead of the crops. v_i of Equations 2 to 5 is the mean of the readable pictures' vectors.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmie.blocks.attention import masked_mean, masked_softmax
from mmie.blocks.features import FeatureSpec, text_feature_spec
from mmie.blocks.prefix_projection import PrefixProjection
from mmie.blocks.vision import VisualOutput
from mmie.methods import papers
from mmie.methods.inspection import inspecting
from mmie.methods.multimodal import MultimodalModule
from mmie.types import Batch, Encoding, Schema

ClsSource = Literal["encoder", "embeddings"]
ViewProjection = Literal["linear", "mlp"]
Gating = Literal["softmax", "uniform", "ones"]


class DGHC(MultimodalModule):
    """Dynamic gates and correlation coefficients.

    Args:
        schema: Description of the data. The command line links it from the data module.
        vision_backbone: Name of a ``timm`` model, or local folder of one.
        freeze_vision: Do not train the visual backbone. The paper trains it.
        view_projection: Map from view vectors to the text's width: ``linear``, which is left out
            where the widths agree, or ``mlp`` (linear, tanh, linear).
        prompt_dim: Inner width of the ``mlp``.
        correlation: Multiply views by their correlation with the text. False skips this
            ("w/o RE Score").
        gating: Weight of a view in a layer: ``softmax`` of learned gates, ``uniform`` for 1 /
            (number of readable views) ("w/o Gating"), or ``ones``. True and False, as in 0.1, stand
            for ``softmax`` and ``ones``.
        cls_source: Source of h: the ``[CLS]`` state of a pass of the ``encoder``, or the mean of
            the input ``embeddings``.
        **shared: See `MultimodalModule` and `ExtractionModule`.

    Raises:
        ValueError: ``prompt_dim`` is below 1, or a switch has none of its values.
    """

    paper = papers.DGHC
    vision_output: ClassVar[VisualOutput] = "pooled"

    def __init__(
        self,
        schema: Schema,
        vision_backbone: str = "vit_base_patch32_clip_224.openai",
        freeze_vision: bool = False,
        view_projection: ViewProjection = "linear",
        prompt_dim: int = 800,
        correlation: bool = True,
        gating: Gating | bool = "softmax",
        cls_source: ClsSource = "encoder",
        **shared: Any,
    ) -> None:
        super().__init__(
            schema, vision_backbone=vision_backbone, freeze_vision=freeze_vision, **shared
        )
        if isinstance(gating, bool):
            gating = "softmax" if gating else "ones"
        _check_switch("view_projection", view_projection, get_args(ViewProjection))
        _check_switch("gating", gating, get_args(Gating))
        _check_switch("cls_source", cls_source, get_args(ClsSource))
        if prompt_dim < 1:
            raise ValueError(f"prompt_dim is {prompt_dim}: expected at least 1")
        self.text.check_reads_prefix()
        self.gating = gating
        self.cls_source = cls_source
        hidden_size, num_layers = self.text.hidden_size, self.text.num_layers
        num_views = schema.num_views
        channels = self.vision.channels[-1]
        self.view_map = build_view_map(channels, hidden_size, view_projection, prompt_dim)
        self.correlation = Correlation(hidden_size, schema.num_images) if correlation else None
        # the gate of a single view would always be 1
        is_gated = gating == "softmax" and num_views > 1
        self.gates = ViewGates(hidden_size, num_layers, num_views) if is_gated else None
        self.projections = PrefixProjection(hidden_size, num_layers, self.text.num_heads)

    @classmethod
    def upgrade_init_args(
        cls, init_args: dict[str, Any], state_dict: Mapping[str, Tensor]
    ) -> dict[str, Any]:
        """Add ``view_projection: mlp``, the only projection of 0.1, to its checkpoints."""
        if "view_projection" not in init_args and "view_map.2.weight" in state_dict:
            return {**init_args, "view_projection": "mlp"}
        return init_args

    def encode(self, batch: Batch) -> Encoding:
        """Run the text encoder with a prefix of weighted views (Sections III-C to III-F)."""
        views = self.view_vectors(batch)  # (batch, views, hidden)
        if self.correlation is not None:
            text = self.text_vector(batch)  # (batch, hidden)
            views = self.correlation(text, views, batch.view_mask)  # (batch, views, hidden)
        gates = self.gate_weights(views, batch.view_mask)  # (layers, batch, views)
        gated = gates.unsqueeze(-1) * views  # (layers, batch, views, hidden)
        prefix = self.projections(gated, batch.view_mask)
        return Encoding(self.encode_text(batch, prefix))

    def view_vectors(self, batch: Batch) -> Tensor:
        """Compute V = CLIP(i, o_1, ..., o_m), mapped to the text's width (Equation 1).

        Returns:
            (batch, views, hidden), 0 for masked views.
        """
        (pooled,) = self.encode_images(batch)  # (batch, views, channels)
        views: Tensor = self.view_map(pooled) * batch.view_mask.unsqueeze(-1)
        return views

    def text_vector(self, batch: Batch) -> Tensor:
        """Compute h, the vector of the whole text (Equation 9), (batch, hidden)."""
        if "summary" in batch.features:
            return batch.features["summary"].to(self.text.model.dtype)
        if self.cls_source == "encoder":
            return self.encode_text(batch)[:, 0]
        embed_tokens = self.text.model.get_input_embeddings()
        embeddings = embed_tokens(batch.input_ids)  # (batch, tokens, hidden)
        return masked_mean(embeddings, batch.attention_mask)

    def feature_specs(self) -> list[FeatureSpec]:
        """Specify the views of a frozen tower and h of a frozen text encoder."""
        specs = super().feature_specs()
        needs_first_pass = self.cls_source == "encoder" and self.correlation is not None
        if needs_first_pass and self.text.frozen:
            specs.append(text_feature_spec(self.text, "summary", lambda states: states[:, 0]))
        return specs

    def gate_weights(self, views: Tensor, view_mask: Tensor) -> Tensor:
        """Compute the weight of every view in every layer.

        Args:
            views: (batch, views, hidden)
            view_mask: (batch, views) bool, True on readable views.

        Returns:
            (layers, batch, views)
        """
        if self.gates is not None:
            gates: Tensor = self.gates(views, view_mask)
            return gates
        weights = torch.ones_like(view_mask, dtype=views.dtype)  # (batch, views)
        if self.gating == "uniform":
            readable = view_mask.to(views.dtype)  # (batch, views)
            weights = readable / readable.sum(-1, keepdim=True).clamp(min=1)
        return weights.expand(self.text.num_layers, -1, -1)

    def prefix_views(self, num_views: int) -> Tensor | None:
        """Return the view of each prefix position, (heads, prefix): one position per view."""
        return torch.arange(num_views).expand(self.text.num_heads, -1)

    def diagnose(self, batch: Batch) -> dict[str, Tensor]:
        """Add the method's own numbers to those of `ExtractionModule.diagnose`.

        =========== ====================== =========================================================
        gates       (batch, layers, views) weight of every view, 0 on masked views; they sum to 1,
                                           except with ``gating: ones``
        correlation (batch, hidden)        C, the correlation of the global picture with the text;
                                           only with ``correlation``
        =========== ====================== =========================================================
        """
        with inspecting(self):
            diagnosis = super().diagnose(batch)
            views = self.view_vectors(batch)  # (batch, views, hidden)
            if self.correlation is not None:
                text = self.text_vector(batch)  # (batch, hidden)
                picture = self.correlation.whole_picture(views, batch.view_mask)
                diagnosis["correlation"] = self.correlation.coefficients(text, picture)
                views = self.correlation(text, views, batch.view_mask)  # (batch, views, hidden)
            gates = self.gate_weights(views, batch.view_mask).transpose(0, 1)
            diagnosis["gates"] = gates * batch.view_mask.unsqueeze(1)  # (batch, layers, views)
            return diagnosis


def build_view_map(
    channels: int, hidden_size: int, projection: ViewProjection, inner_size: int
) -> nn.Module:
    """Build the map from vectors of the visual backbone to the text's width.

    Args:
        channels: Width of the backbone's vectors.
        hidden_size: Width of the text encoder (d).
        projection: ``linear`` or ``mlp``.
        inner_size: Width between the two maps of the ``mlp``.
    """
    if projection == "mlp":
        first, second = nn.Linear(channels, inner_size), nn.Linear(inner_size, hidden_size)
        return nn.Sequential(first, nn.Tanh(), second)
    return nn.Identity() if channels == hidden_size else nn.Linear(channels, hidden_size)


class Correlation(nn.Module):
    """Correlation of the global picture v_i with the text h, by which views are scaled.

    V^C_k = v_k * Linear(C * v_i) (Equations 2 to 5)

    Args:
        hidden_size: Width of text and view vectors (d).
        num_images: Views that are whole pictures.
    """

    def __init__(self, hidden_size: int, num_images: int = 1) -> None:
        super().__init__()
        self.num_images = num_images
        self.match = nn.Linear(hidden_size, hidden_size, bias=False)  # W_TI
        self.from_text = nn.Linear(hidden_size, hidden_size, bias=False)  # W_T
        self.from_picture = nn.Linear(hidden_size, hidden_size, bias=False)  # W_I
        self.output = nn.Linear(hidden_size, hidden_size)
        # h and v_i have a length of about sqrt(d), so the sum of Equation 2 starts at about 1
        nn.init.normal_(self.match.weight, std=1 / hidden_size)
        nn.init.ones_(self.output.bias)

    def forward(self, text: Tensor, views: Tensor, view_mask: Tensor) -> Tensor:
        """Compute v_i^C = Linear(C * v_i) and V^C_k = v_k * v_i^C (Equations 4 and 5).

        Args:
            text: (batch, hidden) h.
            views: (batch, views, hidden) the pictures, then the crops, 0 where masked.
            view_mask: (batch, views) bool, True on readable views.

        Returns:
            (batch, views, hidden), 0 where masked.
        """
        picture = self.whole_picture(views, view_mask)  # (batch, hidden)
        scaled = self.coefficients(text, picture) * picture  # (batch, hidden)
        correlated: Tensor = self.output(scaled)  # (batch, hidden)
        return views * correlated.unsqueeze(1)

    def whole_picture(self, views: Tensor, view_mask: Tensor) -> Tensor:
        """Return v_i: the vector of the picture, of several pictures the mean of readable ones.

        Args:
            views: (batch, views, hidden) the pictures, then the crops, 0 where masked.
            view_mask: (batch, views) bool, True on readable views.

        Returns:
            (batch, hidden), 0 without a readable picture.
        """
        if self.num_images == 1:
            return views[:, 0]
        return masked_mean(views[:, : self.num_images], view_mask[:, : self.num_images])

    def coefficients(self, text: Tensor, picture: Tensor) -> Tensor:
        """Compute C = tanh(W_T h + W_I v_i M), M = tanh(h^T W_TI v_i) (Equations 2 and 3).

        Args:
            text: (batch, hidden) h.
            picture: (batch, hidden) v_i.

        Returns:
            (batch, hidden)
        """
        match = torch.tanh((text * self.match(picture)).sum(-1, keepdim=True))  # (batch, 1)
        return torch.tanh(self.from_text(text) + self.from_picture(picture) * match)


class ViewGates(nn.Module):
    """Weights of every view in every layer (Equations 6 to 8).

    g_l = softmax(LeakyReLU(W_l mean_k V^C_k))

    Args:
        hidden_size: Width of view vectors (d).
        num_layers: Layers of the text encoder (N).
        num_views: Views of a post (V).
    """

    def __init__(self, hidden_size: int, num_layers: int, num_views: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(hidden_size, num_views) for _ in range(num_layers))

    def forward(self, views: Tensor, view_mask: Tensor) -> Tensor:
        """Compute gates that sum to 1 over readable views and are 0 on masked ones.

        Args:
            views: (batch, views, hidden)
            view_mask: (batch, views) bool, True on readable views.

        Returns:
            (layers, batch, views)
        """
        mean = masked_mean(views, view_mask)  # (batch, hidden)
        scores = [functional.leaky_relu(layer(mean)) for layer in self.layers]
        return masked_softmax(torch.stack(scores), view_mask)


def _check_switch(name: str, value: object, expected: tuple[str, ...]) -> None:
    """Raise unless a switch has one of its values.

    Raises:
        ValueError: The value is none of the expected ones.
    """
    if value not in expected:
        raise ValueError(f"{name} is '{value}': expected one of {', '.join(expected)}")
