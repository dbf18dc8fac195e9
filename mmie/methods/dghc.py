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

- The paper does not say where h comes from, which Equation 2 needs before the text is encoded. Here
  it is from a pass without prefix, or, with ``cls_source: embeddings``, from the input embeddings,
  which saves that pass.
- A view that is absent is masked, in the gates' mean and softmax too. An absent global picture
  counts as v_i = 0.
- The paper gives no initial values. Here M starts where tanh is not flat, and the bias of Equation
  4 at 1, so that views pass unchanged at the start. Otherwise the backbone would train through a
  product of small numbers.
"""

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


class DGHC(MultimodalModule):
    """Dynamic gates and correlation coefficients.

    Args:
        schema: Description of the data. The command line links it from the data module.
        vision_backbone: Name of a ``timm`` model, or local folder of one.
        freeze_vision: Do not train the visual backbone. The paper trains it.
        prompt_dim: Inner width of the network that maps view vectors to the text's width.
        correlation: Multiply views by their correlation with the text. False skips this
            ("w/o RE Score").
        gating: Weigh the views in every layer. False gives each its full weight ("w/o Gating").
        cls_source: Source of h: the ``[CLS]`` state of a pass of the ``encoder``, or the mean of
            the input ``embeddings``.
        **shared: See `MultimodalModule` and `ExtractionModule`.

    Raises:
        ValueError: ``prompt_dim`` is below 1, or ``cls_source`` is neither of the two.
    """

    paper = papers.DGHC
    vision_output: ClassVar[VisualOutput] = "pooled"

    def __init__(
        self,
        schema: Schema,
        vision_backbone: str = "vit_base_patch32_clip_224.openai",
        freeze_vision: bool = False,
        prompt_dim: int = 800,
        correlation: bool = True,
        gating: bool = True,
        cls_source: ClsSource = "encoder",
        **shared: Any,
    ) -> None:
        super().__init__(
            schema, vision_backbone=vision_backbone, freeze_vision=freeze_vision, **shared
        )
        if prompt_dim < 1 or cls_source not in get_args(ClsSource):
            raise ValueError(
                f"prompt_dim is {prompt_dim}, cls_source '{cls_source}': expected at least 1, and "
                f"one of {', '.join(get_args(ClsSource))}"
            )
        self.text.check_reads_prefix()
        self.cls_source = cls_source
        hidden_size, num_layers = self.text.hidden_size, self.text.num_layers
        num_views = 1 + schema.num_objects
        self.view_map = nn.Sequential(
            nn.Linear(self.vision.channels[-1], prompt_dim),
            nn.Tanh(),
            nn.Linear(prompt_dim, hidden_size),
        )
        self.correlation = Correlation(hidden_size) if correlation else None
        # the gate of a single view would always be 1
        is_gated = gating and num_views > 1
        self.gates = ViewGates(hidden_size, num_layers, num_views) if is_gated else None
        self.projections = PrefixProjection(hidden_size, num_layers, self.text.num_heads)

    def encode(self, batch: Batch) -> Encoding:
        """Run the text encoder with a prefix of weighted views (Sections III-C to III-F)."""
        views = self.view_vectors(batch)  # (batch, views, hidden)
        if self.correlation is not None:
            views = self.correlation(self.text_vector(batch), views)  # (batch, views, hidden)
        gates = self.gate_weights(views, batch.view_mask)  # (layers, batch, views)
        gated = gates.unsqueeze(-1) * views  # (layers, batch, views, hidden)
        prefix = self.projections(gated, batch.view_mask)
        return Encoding(self.encode_text(batch, prefix))

    def view_vectors(self, batch: Batch) -> Tensor:
        """Compute V = Linear(tanh(Linear(CLIP(i, o_1, ..., o_m)))) (Equation 1).

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
        """Compute the weight of every view in every layer, 1 without gates.

        Args:
            views: (batch, views, hidden)
            view_mask: (batch, views) bool, True on readable views.

        Returns:
            (layers, batch, views)
        """
        if self.gates is None:
            return views.new_ones(self.text.num_layers, *view_mask.shape)
        gates: Tensor = self.gates(views, view_mask)
        return gates

    def prefix_views(self, num_views: int) -> Tensor | None:
        """Return the view of each prefix position, (heads, prefix): one position per view."""
        return torch.arange(num_views).expand(self.text.num_heads, -1)

    def diagnose(self, batch: Batch) -> dict[str, Tensor]:
        """Add the method's own numbers to those of `ExtractionModule.diagnose`.

        =========== ====================== =========================================================
        gates       (batch, layers, views) weight of every view; they sum to 1, and are 0 on masked
                                           views
        correlation (batch, hidden)        C, the correlation of the global picture with the text;
                                           only with ``correlation``
        =========== ====================== =========================================================
        """
        with inspecting(self):
            diagnosis = super().diagnose(batch)
            views = self.view_vectors(batch)  # (batch, views, hidden)
            if self.correlation is not None:
                text = self.text_vector(batch)  # (batch, hidden)
                diagnosis["correlation"] = self.correlation.coefficients(text, views[:, 0])
                views = self.correlation(text, views)  # (batch, views, hidden)
            gates = self.gate_weights(views, batch.view_mask).transpose(0, 1)
            diagnosis["gates"] = gates * batch.view_mask.unsqueeze(1)  # (batch, layers, views)
            return diagnosis


class Correlation(nn.Module):
    """Correlation of the global picture v_i with the text h, by which views are scaled.

    V^C_k = v_k * Linear(C * v_i) (Equations 2 to 5)

    Args:
        hidden_size: Width of text and view vectors (d).
    """

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.match = nn.Linear(hidden_size, hidden_size, bias=False)  # W_TI
        self.from_text = nn.Linear(hidden_size, hidden_size, bias=False)  # W_T
        self.from_picture = nn.Linear(hidden_size, hidden_size, bias=False)  # W_I
        self.output = nn.Linear(hidden_size, hidden_size)
        # h has length sqrt(d), so the sum of Equation 2 starts below 1
        nn.init.normal_(self.match.weight, std=1 / hidden_size)
        nn.init.ones_(self.output.bias)

    def forward(self, text: Tensor, views: Tensor) -> Tensor:
        """Compute v_i^C = Linear(C * v_i) and V^C_k = v_k * v_i^C (Equations 4 and 5).

        Args:
            text: (batch, hidden) h.
            views: (batch, views, hidden) v_i, then the crops, 0 where masked.

        Returns:
            (batch, views, hidden), 0 where masked.
        """
        picture = views[:, 0]  # (batch, hidden)
        scaled = self.coefficients(text, picture) * picture  # (batch, hidden)
        correlated: Tensor = self.output(scaled)  # (batch, hidden)
        return views * correlated.unsqueeze(1)

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
