"""DGHC: views weighed by how they go with the text, then by gates in every layer.

Liu, Yang, Yu, Bu, DGHC: A Hybrid Algorithm for Multi-Modal Named Entity Recognition Using Dynamic Gating and
Correlation Coefficients With Visual Enhancements, IEEE Access 2024, https://doi.org/10.1109/ACCESS.2024.3400250

1. CLIP's vision tower, trained along, gives one vector of every view.
2. A first pass of the text encoder gives h, the whole text's vector.
3. From h and the global picture come correlation coefficients, by which every view's vector is multiplied.
4. In every text layer a softmax gate weighs the views; each gives one position of the layer's prefix keys and values.
5. A second pass of the text encoder attends to them in every layer; the shared head reads its states.

==================================  ==================================  ======================================
paper                               here                                shape
==================================  ==================================  ======================================
views (Equation 1)                  `DGHC.views`                        (batch, views, hidden)
h_[CLS] (Equation 9)                `DGHC.summary`                      (batch, hidden)
M, C (Equations 2, 3)               `Correlation.coefficients`          (batch, hidden)
V^C (Equations 4, 5)                `Correlation.forward`               (batch, views, hidden)
gates (Equations 6-8)               `ViewGates`                         (layers, batch, views)
prefix (Equation 13)                `PrefixProjection`                  (layers, batch, heads, views, head_size)
                                    (`mmie.blocks.prefix_projection`)
attention (Equations 10-12, 14)     `mmie.blocks.prefix_attention`      (batch, tokens, hidden)
==================================  ==================================  ======================================

**Departures.** The paper does not say where h, which Equation 2 needs before the text is encoded, comes from: here from
a pass without prefix, with ``cls_source: embeddings`` from the input embeddings, which saves that pass. A view that is
not there is masked, in the gates' mean and softmax too; a missing global picture counts as v_i = 0. The paper does not
give initial values: M starts where tanh is not flat, and the bias of Equation 4 at 1, so that views pass as they are;
otherwise the backbone trains through a product of small numbers.
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
        schema: What the data module says of the data; the command line links it.
        vision_backbone: Name of a ``timm`` model, or local folder of one.
        freeze_vision: Keep the visual backbone as it is; the paper trains it.
        prompt_dim: Inner width of the network that takes a view's vector to the text's width.
        correlation: Multiply views by their correlation with the text; false leaves them ("w/o RE Score").
        gating: Weigh the views in every layer; false gives each its full weight ("w/o Gating").
        cls_source: h is the ``[CLS]`` state of a pass of the ``encoder``, or the mean of the input ``embeddings``.
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
                f"prompt_dim is {prompt_dim}, cls_source '{cls_source}': expected at least 1, and one of "
                f"{', '.join(get_args(ClsSource))}"
            )
        self.text.check_reads_prefix()
        hidden, layers, views = self.text.hidden_size, self.text.num_layers, 1 + schema.num_objects
        self.view_map = nn.Sequential(
            nn.Linear(self.vision.channels[-1], prompt_dim),
            nn.Tanh(),
            nn.Linear(prompt_dim, hidden),
        )
        self.correlation = Correlation(hidden) if correlation else None
        self.gates = (
            ViewGates(hidden, layers, views) if gating and views > 1 else None
        )  # a lone view's gate is 1
        self.projections = PrefixProjection(hidden, layers, self.text.num_heads)
        self.cls_source = cls_source

    def encode(self, batch: Batch) -> Encoding:
        """Sections III-C to III-F."""
        views = self.views(batch)  # (batch, views, hidden)
        if self.correlation is not None:
            views = self.correlation(self.summary(batch), views)
        gates = self.gate_weights(views, batch.view_mask)  # (layers, batch, views)
        gated = gates.unsqueeze(-1) * views  # (layers, batch, views, hidden)
        return Encoding(self.encode_text(batch, self.projections(gated, batch.view_mask)))

    def views(self, batch: Batch) -> Tensor:
        """V = Linear(tanh(Linear(CLIP(i, o_1, ..., o_m)))) (Equation 1), (batch, views, hidden); 0 where masked."""
        (pooled,) = self.encode_images(batch)  # (batch, views, channels)
        return self.view_map(pooled) * batch.view_mask.unsqueeze(-1)  # type: ignore[no-any-return]

    def summary(self, batch: Batch) -> Tensor:
        """The whole text's vector h (Equation 9), (batch, hidden)."""
        if "summary" in batch.features:
            return batch.features["summary"].to(self.text.model.dtype)
        if self.cls_source == "encoder":
            return self.encode_text(batch)[:, 0]
        embeddings = self.text.model.get_input_embeddings()(
            batch.input_ids
        )  # (batch, tokens, hidden)
        return masked_mean(embeddings, batch.attention_mask)

    def feature_specs(self) -> list[FeatureSpec]:
        """The views of a frozen tower, and h of a frozen text encoder."""
        specs = super().feature_specs()
        reads_first = self.cls_source == "encoder" and self.correlation is not None
        if reads_first and self.text.frozen:
            specs.append(text_feature_spec(self.text, "summary", lambda states: states[:, 0]))
        return specs

    def gate_weights(self, views: Tensor, view_mask: Tensor) -> Tensor:
        """Weight of every view in every layer, (layers, batch, views); 1 without gates."""
        if self.gates is None:
            return views.new_ones(self.text.num_layers, *view_mask.shape)
        gates: Tensor = self.gates(views, view_mask)
        return gates

    def prefix_views(self, num_views: int) -> Tensor | None:
        """A position a view."""
        return torch.arange(num_views).expand(self.text.num_heads, -1)

    def diagnose(self, batch: Batch) -> dict[str, Tensor]:
        """What `ExtractionModule.diagnose` gives, and the method's own.

        ============ ======================= ==================================================================
        gates        (batch, layers, views)  weight of every view; they sum to 1, and are 0 on masked views
        correlation  (batch, hidden)         C, how the global picture goes with the text; with ``correlation``
        ============ ======================= ==================================================================
        """
        with inspecting(self):
            found = super().diagnose(batch)
            views = self.views(batch)  # (batch, views, hidden)
            if self.correlation is not None:
                summary = self.summary(batch)
                found["correlation"] = self.correlation.coefficients(summary, views[:, 0])
                views = self.correlation(summary, views)
            gates = self.gate_weights(views, batch.view_mask).transpose(0, 1)
            return {**found, "gates": gates * batch.view_mask.unsqueeze(1)}


class Correlation(nn.Module):
    """V^C_k = v_k * Linear(C * v_i), where C says how the global picture v_i goes with the text h.

    Args:
        hidden_size: Width of text and view vectors (d).
    """

    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.match = nn.Linear(hidden_size, hidden_size, bias=False)  # W_TI
        self.from_text = nn.Linear(hidden_size, hidden_size, bias=False)  # W_T
        self.from_picture = nn.Linear(hidden_size, hidden_size, bias=False)  # W_I
        self.output = nn.Linear(hidden_size, hidden_size)
        nn.init.normal_(
            self.match.weight, std=1 / hidden_size
        )  # h has length sqrt(d): the sum stays below 1
        nn.init.ones_(self.output.bias)

    def forward(self, text: Tensor, views: Tensor) -> Tensor:
        """v_i^C = Linear(C * v_i); V^C_k = v_k * v_i^C (Equations 4 and 5).

        Args:
            text: (batch, hidden) h.
            views: (batch, views, hidden) v_i, then the crops; 0 where masked.

        Returns:
            (batch, views, hidden); 0 where masked.
        """
        picture = views[:, 0]  # (batch, hidden)
        correlated: Tensor = self.output(
            self.coefficients(text, picture) * picture
        )  # (batch, hidden)
        return views * correlated.unsqueeze(1)

    def coefficients(self, text: Tensor, picture: Tensor) -> Tensor:
        """C = tanh(W_T h + W_I v_i M), M = tanh(h^T W_TI v_i) (Equations 2 and 3), (batch, hidden)."""
        match = torch.tanh((text * self.match(picture)).sum(-1, keepdim=True))  # (batch, 1)
        return torch.tanh(self.from_text(text) + self.from_picture(picture) * match)


class ViewGates(nn.Module):
    """g_l = softmax(LeakyReLU(W_l mean_k V^C_k)): a weight of every view in every layer (Equations 6 to 8).

    Args:
        hidden_size: Width of view vectors (d).
        num_layers: Layers of the text encoder (N).
        num_views: Views of a post (V).
    """

    def __init__(self, hidden_size: int, num_layers: int, num_views: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(hidden_size, num_views) for _ in range(num_layers))

    def forward(self, views: Tensor, view_mask: Tensor) -> Tensor:
        """Gates that sum to 1 over the views that are not masked, and are 0 on the others.

        Args:
            views: (batch, views, hidden)
            view_mask: (batch, views) bool, True on readable views.

        Returns:
            (layers, batch, views)
        """
        mean = masked_mean(views, view_mask)  # (batch, hidden)
        scores = torch.stack([functional.leaky_relu(layer(mean)) for layer in self.layers])
        return masked_softmax(scores, view_mask)
