"""RAP: relevance-aware prompts, found by a dynamic router.

Chen, Li, Liu, Zhang, Ma, Relevance-aware prompt-tuning method for multimodal social entity and relation extraction,
Neurocomputing 640, 2025, https://doi.org/10.1016/j.neucom.2025.130316

1. A first pass of the text encoder and a frozen ResNet-101 give vectors of the tokens and of the views.
2. A graph over the relevance of the picture to the post and to each word gives one number, beta.
3. Layers of three units (keep, reason, fuse; beta gates the fusion) are joined by weights that a router sets per post.
4. What comes out is turned into a prompt: keys and values for every text layer.
5. A second pass of the text encoder, over the same tokens, attends to them; the shared head reads its states.

====================================  ============================  =======================================
paper                                 here                          shape
====================================  ============================  =======================================
features (Section 3.2)                `RAP.features`                (batch, tokens, hidden), (batch, views, hidden)
relevance vector (Equations 1, 5)     `Relevance.compare`           (..., 256)
attended picture (Equations 2-4)      `Relevance.attended`          (batch, tokens, hidden)
graph (Equations 6-8)                 `Relevance.propagate`         (batch, 1 + tokens, 256)
beta (Algorithm 1)                    `Relevance.forward`           (batch,)
units U0, U1, U2 (Equations 10-16)    `RAU`, `FSRU`, `CFU`          (batch, tokens, hidden)
routing (Equations 17-19)             `DynamicFusion.forward`       (batch, tokens, hidden)
path loss (Equation 22)               `RAP.router_loss`             ()
prompt (Equation 23)                  `RAP.prompt`                  (layers, batch, heads, prompt, head_size)
second pass (Equation 24)             `RAP.encode`                  (batch, tokens, hidden)
====================================  ============================  =======================================

**Departures.** The sums of Equation 3 normalise over views (the paper's indices contradict each other). Path weights
into a unit are normalised over where they come from (``normalize_paths``), else the scale grows with depth, and
routers start with all paths open; both are the routing scheme's own (Qu et al., DIME, SIGIR 2021). For the same
reason beta starts so that its gate is open: at a gate near 0 the picture is not seen and the gate does not learn to
open. Equation 22 is averaged over pairs, since a sum depends on the batch size. Graph nodes are subwords of the
post's words, without ``[CLS]``. W_out starts small, so that the second pass starts close to the plain encoder.
"""

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmie.blocks.attention import AttentionPooling, MultiHeadAttention, masked_mean, masked_softmax
from mmie.blocks.features import FeatureSpec, text_feature_spec
from mmie.blocks.prefix_attention import Prefix, split_heads
from mmie.blocks.vision import VisualOutput
from mmie.methods import papers
from mmie.methods.inspection import inspecting
from mmie.methods.multimodal import MultimodalModule
from mmie.types import Batch, Encoding, Schema

UnitName = Literal["rau", "fsru", "cfu"]
_SHARPNESS = 9.0  # lambda of Equation 3
_ROUNDS = 2  # of message passing over the relevance graph
_RELEVANCE_SIZE = 256
_ROUTER_SIZE = 128
_OPEN = 1.5  # initial bias of the routers and of beta: tanh(1.5) = 0.91


class RAP(MultimodalModule):
    """Relevance-aware prompt-tuning.

    Args:
        schema: What the data module says of the data; the command line links it.
        vision_backbone: Name of a ``timm`` model, or local folder of one.
        num_fusion_layers: Layers of units (L_f): 4 for NER, 3 for RE in the paper.
        prompt_length: Prompt positions (m_p).
        units: Units of a layer.
        relevance: Gate the fusion by beta; false leaves it open ("w/o MRR").
        normalize_paths: Path weights into a unit sum to 1.
        path_weight: Weight of the path loss (gamma).
        prompting: Read the prompted second pass; false reads the fused states themselves.
        **shared: See `MultimodalModule` and `ExtractionModule`.

    Raises:
        ValueError: No unit, layer or prompt position.
    """

    paper = papers.RAP
    vision_output: ClassVar[VisualOutput] = "pooled"

    def __init__(
        self,
        schema: Schema,
        vision_backbone: str = "resnet101",
        num_fusion_layers: int = 3,
        prompt_length: int = 16,
        units: Sequence[UnitName] = ("rau", "fsru", "cfu"),
        relevance: bool = True,
        normalize_paths: bool = True,
        path_weight: float = 1.5,
        prompting: bool = True,
        **shared: Any,
    ) -> None:
        super().__init__(schema, vision_backbone=vision_backbone, **shared)
        if not units or len(set(units)) < len(units) or num_fusion_layers < 1 or prompt_length < 1:
            raise ValueError(
                f"units {list(units)} must be one or more, each once; num_fusion_layers {num_fusion_layers} and "
                f"prompt_length {prompt_length} at least 1"
            )
        hidden = self.text.hidden_size
        self.path_weight = path_weight
        self.text_map = nn.Linear(hidden, hidden)
        self.view_map = nn.Linear(self.vision.channels[-1], hidden) if "cfu" in units else None
        self.relevance = Relevance(hidden) if relevance and "cfu" in units else None
        self.fusion = DynamicFusion(
            hidden, self.text.num_heads, num_fusion_layers, units, normalize_paths
        )
        self.prompting = prompting
        if prompting:
            self.text.check_reads_prefix()
            self.length_map = nn.Linear(schema.max_tokens, prompt_length)
            self.prompt_in = nn.Linear(hidden, hidden)
            self.prompt_out = nn.Linear(hidden, 2 * self.text.num_layers * hidden)
            nn.init.normal_(self.prompt_out.weight, std=0.02 / math.sqrt(2 * self.text.num_layers))
            nn.init.zeros_(self.prompt_out.bias)

    def encode(self, batch: Batch) -> Encoding:
        """Sections 3.2 to 3.6."""
        first_pass = self.first_pass(batch)  # (batch, tokens, hidden)
        text, views = self.features(first_pass, batch)
        gate = self.gate(text, views, batch)  # (batch,)
        fused, routing = self.fusion(text, batch.attention_mask, views, batch.view_mask, gate)
        losses = (
            {"router": self.path_weight * self.router_loss(routing, first_pass[:, 0])}
            if self.path_weight
            else {}
        )
        if not self.prompting:
            return Encoding(fused, losses)
        return Encoding(self.encode_text(batch, self.prompt(fused, batch.attention_mask)), losses)

    def first_pass(self, batch: Batch) -> Tensor:
        """States of the text without a prompt, (batch, tokens, hidden); those of a frozen encoder may be kept."""
        if "first_pass" not in batch.features:
            return self.encode_text(batch)
        kept = batch.features["first_pass"].unflatten(
            1, (-1, self.text.hidden_size)
        )  # (batch, max_tokens, hidden)
        states: Tensor = kept[:, : batch.input_ids.shape[1]].to(self.text_map.weight.dtype)
        return states

    def feature_specs(self) -> list[FeatureSpec]:
        """The features of the backbone, and the first pass of a frozen text encoder."""
        max_tokens = self.schema.max_tokens

        def pad(states: Tensor) -> Tensor:
            missing = max_tokens - states.shape[1]
            return functional.pad(states, (0, 0, 0, missing)).flatten(
                1
            )  # (sources, max_tokens * hidden)

        specs = super().feature_specs()
        if self.text.frozen:
            specs.append(text_feature_spec(self.text, "first_pass", pad, max_tokens=max_tokens))
        return specs

    def features(self, first_pass: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """E_t (batch, tokens, hidden) and E_v (batch, views, hidden); a masked view is 0, all are without a CFU."""
        text = self.text_map(first_pass)
        if self.view_map is None:  # no unit looks at the picture
            return text, text.new_zeros(*batch.view_mask.shape, text.shape[-1])
        (pooled,) = self.encode_images(batch)  # (batch, views, channels)
        return text, self.view_map(pooled) * batch.view_mask.unsqueeze(-1)

    def gate(self, text: Tensor, views: Tensor, batch: Batch) -> Tensor:
        """R-Gate(beta) = tanh(beta) (Equation 14), (batch,); 1 without relevance."""
        if self.relevance is None:
            return text.new_ones(len(batch))
        return torch.tanh(
            self.relevance(text, batch.attention_mask, batch.text_mask, views, batch.view_mask)
        )

    def prompt(self, fused: Tensor, mask: Tensor) -> Prefix:
        """X_prompt = W_out ReLU(W_in X'), X' = X_mm mapped along its tokens to the prompt's length (Equation 23)."""
        batch, tokens, hidden = fused.shape
        real = (fused * mask.unsqueeze(-1)).transpose(1, 2)  # (batch, hidden, tokens)
        mapped = functional.linear(real, self.length_map.weight[:, :tokens], self.length_map.bias)
        prompts = self.prompt_out(
            torch.relu(self.prompt_in(mapped.transpose(1, 2)))
        )  # (batch, prompt, 2 * layers * d)
        layers = prompts.view(batch, prompts.shape[1], self.text.num_layers, 2, hidden)
        keys, values = layers.permute(3, 2, 0, 1, 4)  # (layers, batch, prompt, hidden) each
        return Prefix(
            split_heads(keys, self.text.num_heads), split_heads(values, self.text.num_heads)
        )

    def router_loss(self, routing: Tensor, cls: Tensor) -> Tensor:
        """Mean over i != j of (cos(g_i, g_j) - cos(cls_i, cls_j))^2 (Equation 22); 0 for a batch of one.

        Args:
            routing: (batch, paths) all path weights of a post.
            cls: (batch, hidden) ``[CLS]`` states of the first pass; they get no gradient.
        """
        batch = len(routing)
        difference = _cosines(routing) - _cosines(cls.detach())  # (batch, batch)
        others = ~torch.eye(batch, dtype=torch.bool, device=routing.device)
        return (difference.square() * others).sum() / max(1, batch * (batch - 1))

    def diagnose(self, batch: Batch) -> dict[str, Tensor]:
        """What `ExtractionModule.diagnose` gives, and the method's own (the paper's Figures 6 to 9).

        ========== ================================ ==========================================================
        relevance  (batch,)                         beta; the gate is its tanh; with ``relevance``
        routing    (batch, layers, units, targets)  what the routers say, 0 to 1; the last layer has one target
        paths      the same                         the weights as they are applied
        unprompted (batch, words or 1, width)       ``representation`` of the first pass, which has no prompt
        ========== ================================ ==========================================================
        """
        with inspecting(self):
            first_pass = self.first_pass(batch)  # (batch, tokens, hidden)
            text, views = self.features(first_pass, batch)
            gate = self.gate(text, views, batch)  # (batch,)
            _, routing = self.fusion(text, batch.attention_mask, views, batch.view_mask, gate)
            found = {**super().diagnose(batch), "unprompted": self.represent(first_pass, batch)}
            found["routing"], found["paths"] = self.fusion.by_layer(routing)
            if self.relevance is not None:
                masks = (batch.attention_mask, batch.text_mask)
                found["relevance"] = self.relevance(text, *masks, views, batch.view_mask)
            return found


class Relevance(nn.Module):
    """How much the picture has to do with the text: relevance vectors, a graph over them, and beta.

    Args:
        hidden_size: Width of text and view vectors (d_s).
        size: Width of a relevance vector (d_r).
    """

    def __init__(self, hidden_size: int, size: int = _RELEVANCE_SIZE) -> None:
        super().__init__()
        self.text_pooling = AttentionPooling(hidden_size)
        self.view_pooling = AttentionPooling(hidden_size)
        self.compare_global = nn.Linear(hidden_size, size, bias=False)
        self.compare_local = nn.Linear(hidden_size, size, bias=False)
        self.source = nn.Linear(size, size, bias=False)
        self.target = nn.Linear(size, size, bias=False)
        self.update = nn.Linear(size, size, bias=False)
        self.score = nn.Linear(size, 1)
        nn.init.constant_(self.score.bias, _OPEN)

    def forward(
        self, text: Tensor, text_mask: Tensor, word_mask: Tensor, views: Tensor, view_mask: Tensor
    ) -> Tensor:
        """Beta = W_s r_g + b_s after the last round (Algorithm 1).

        Args:
            text: (batch, tokens, hidden)
            text_mask: (batch, tokens) bool, True on real tokens.
            word_mask: (batch, tokens) bool, True on subwords of words.
            views: (batch, views, hidden)
            view_mask: (batch, views) bool

        Returns:
            (batch,)
        """
        whole_text, whole_picture = (
            self.text_pooling(text, text_mask),
            self.view_pooling(views, view_mask),
        )
        global_node = self.compare(whole_text, whole_picture, self.compare_global)  # (batch, size)
        local_nodes = self.compare(text, self.attended(text, views, view_mask), self.compare_local)
        nodes = torch.cat(
            [global_node.unsqueeze(1), local_nodes], dim=1
        )  # (batch, 1 + tokens, size)
        mask = functional.pad(word_mask, (1, 0), value=True)
        beta: Tensor = self.score(self.propagate(nodes, mask)[:, 0]).squeeze(-1)
        return beta

    def compare(self, left: Tensor, right: Tensor, weight: nn.Linear) -> Tensor:
        """r(a, b; W) = W|a - b|^2 / ||W|a - b|^2||_2 (Equations 1 and 5), (..., hidden) -> (..., size)."""
        return functional.normalize(weight((left - right).square()), dim=-1)

    def attended(self, text: Tensor, views: Tensor, view_mask: Tensor) -> Tensor:
        """a_i = sum_j softmax_j(9 [cos(t_i, v_j)]_+ / sqrt(sum_j [cos(t_i, v_j)]_+^2)) v_j (Equations 2 to 4)."""
        cosines = functional.normalize(text, dim=-1) @ functional.normalize(
            views, dim=-1
        ).transpose(1, 2)
        positive = cosines.relu() * view_mask.unsqueeze(1)  # (batch, tokens, views)
        return (
            masked_softmax(
                _SHARPNESS * functional.normalize(positive, dim=-1), view_mask.unsqueeze(1)
            )
            @ views
        )

    def propagate(self, nodes: Tensor, mask: Tensor) -> Tensor:
        """r_s <- ReLU(W_r sum_t e_st r_t), e_st = softmax_t((W_src r_s) . (W_tgt r_t)), twice (Equations 6 to 8)."""
        for _ in range(_ROUNDS):
            scores = self.source(nodes) @ self.target(nodes).transpose(
                1, 2
            )  # (batch, nodes, nodes)
            nodes = torch.relu(self.update(masked_softmax(scores, mask.unsqueeze(1)) @ nodes))
        return nodes


class RAU(nn.Module):
    """Rectified activation unit, U_0(X) = ReLU(X) (Equation 10): keeps what needs no picture."""

    def __init__(self, hidden_size: int, num_heads: int) -> None:
        super().__init__()

    def forward(
        self, text: Tensor, mask: Tensor, views: Tensor, view_mask: Tensor, gate: Tensor
    ) -> Tensor:
        """(batch, tokens, hidden)."""
        return text.relu()


class FSRU(nn.Module):
    """Feature semantic reasoning unit, Norm(FFN(Y) + Y) with Y = Norm(X + MHA(X)) (Equations 11 and 12)."""

    def __init__(self, hidden_size: int, num_heads: int) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(hidden_size, num_heads)
        self.norm_attention = nn.LayerNorm(hidden_size)
        self.feed_forward = _feed_forward(hidden_size)
        self.norm = nn.LayerNorm(hidden_size)

    def forward(
        self, text: Tensor, mask: Tensor, views: Tensor, view_mask: Tensor, gate: Tensor
    ) -> Tensor:
        """(batch, tokens, hidden)."""
        attended = self.norm_attention(text + self.attention(text, text, mask))
        result: Tensor = self.norm(self.feed_forward(attended) + attended)
        return result


class CFU(nn.Module):
    """Cross-modal fusion unit, Y + MLP(Norm(Y)), Y = X + tanh(beta) CrossAttention(Norm(X), E_v) (Equations 13-16)."""

    def __init__(self, hidden_size: int, num_heads: int) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(hidden_size)
        self.attention = MultiHeadAttention(hidden_size, num_heads)
        self.norm = nn.LayerNorm(hidden_size)
        self.feed_forward = _feed_forward(hidden_size)

    def forward(
        self, text: Tensor, mask: Tensor, views: Tensor, view_mask: Tensor, gate: Tensor
    ) -> Tensor:
        """(batch, tokens, hidden); ``gate`` (batch,) is tanh(beta)."""
        attended = self.attention(self.norm_attention(text), views, view_mask)
        fused = text + gate[:, None, None] * attended
        result: Tensor = fused + self.feed_forward(self.norm(fused))
        return result


_UNITS: dict[UnitName, type[RAU | FSRU | CFU]] = {"rau": RAU, "fsru": FSRU, "cfu": CFU}


class DynamicFusion(nn.Module):
    """Layers of units, every unit of a layer joined to every unit of the next by a weight that a router sets.

    Args:
        hidden_size: Width of text and view vectors.
        num_heads: Attention heads of the units.
        num_layers: Layers (L_f).
        units: Units of a layer (U of them).
        normalize_paths: Path weights into a unit sum to 1; if all are 0, the first unit's output passes.
    """

    def __init__(
        self,
        hidden_size: int,
        num_heads: int,
        num_layers: int,
        units: Sequence[UnitName],
        normalize_paths: bool,
    ) -> None:
        super().__init__()
        self.normalize_paths = normalize_paths
        self.layers: Sequence[nn.ModuleList] = nn.ModuleList(  # type: ignore[assignment]
            nn.ModuleList(_UNITS[name](hidden_size, num_heads) for name in units)
            for _ in range(num_layers)
        )
        paths = [*([len(units)] * (num_layers - 1)), 1]
        self.routers: Sequence[nn.ModuleList] = nn.ModuleList(  # type: ignore[assignment]
            nn.ModuleList(_router(hidden_size, count) for _ in units) for count in paths
        )

    def forward(
        self, text: Tensor, mask: Tensor, views: Tensor, view_mask: Tensor, gate: Tensor
    ) -> tuple[Tensor, Tensor]:
        """X_mm (batch, tokens, hidden) and the routing vector (batch, U^2 (L_f - 1) + U) (Equations 17 to 19).

        Args:
            text: (batch, tokens, hidden)
            mask: (batch, tokens) bool
            views: (batch, views, hidden)
            view_mask: (batch, views) bool
            gate: (batch,) tanh(beta)
        """
        inputs = [text] * len(self.layers[0])
        routing = []
        for units, routers in zip(self.layers, self.routers, strict=True):
            outputs = [
                unit(x, mask, views, view_mask, gate) for unit, x in zip(units, inputs, strict=True)
            ]
            weights = torch.stack(
                [_route(router, x, mask) for router, x in zip(routers, inputs, strict=True)], dim=1
            )
            routing.append(
                weights.flatten(1)
            )  # (batch, units, targets) -> (batch, units * targets)
            mixed = torch.einsum(
                "but,buph->tbph", self.normalized(weights), torch.stack(outputs, dim=1)
            )
            inputs = list(mixed)
        return inputs[0], torch.cat(routing, dim=1)

    def by_layer(self, routing: Tensor) -> tuple[Tensor, Tensor]:
        """A routing vector (batch, paths) as (batch, layers, units, targets), as it is and as it is applied.

        The last layer has one target; its others are 0.
        """
        units = len(self.layers[0])
        targets = [*([units] * (len(self.layers) - 1)), 1]
        parts = routing.split([units * count for count in targets], dim=1)
        weights = [
            part.unflatten(1, (units, count)) for part, count in zip(parts, targets, strict=True)
        ]
        applied = [self.normalized(part) for part in weights]
        return _stack_layers(weights, units), _stack_layers(applied, units)

    def normalized(self, weights: Tensor) -> Tensor:
        """Path weights (batch, units, targets) as they are applied."""
        if not self.normalize_paths:
            return weights
        total = weights.sum(1, keepdim=True)
        first = functional.one_hot(
            torch.zeros_like(weights[:, 0], dtype=torch.long), weights.shape[1]
        ).transpose(1, 2)
        return torch.where(total > 0, weights / total.where(total > 0, 1), first.to(weights))


def _route(router: nn.Module, inputs: Tensor, mask: Tensor) -> Tensor:
    """ReLU(tanh(MLP(mean over tokens))) (Equation 19), (batch, targets)."""
    return torch.tanh(router(masked_mean(inputs, mask))).relu()


def _stack_layers(weights: Sequence[Tensor], units: int) -> Tensor:
    """Path weights (batch, units, targets) of the layers as (batch, layers, units, units)."""
    return torch.stack(
        [functional.pad(part, (0, units - part.shape[2])) for part in weights], dim=1
    )


def _router(hidden_size: int, paths: int) -> nn.Sequential:
    """Two linear maps to path weights, all paths open at the start."""
    last = nn.Linear(_ROUTER_SIZE, paths)
    nn.init.normal_(last.weight, std=0.02)
    nn.init.constant_(last.bias, _OPEN)
    return nn.Sequential(nn.Linear(hidden_size, _ROUTER_SIZE), nn.ReLU(), last)


def _feed_forward(hidden_size: int) -> nn.Sequential:
    """Two linear maps, four times as wide between."""
    return nn.Sequential(
        nn.Linear(hidden_size, 4 * hidden_size), nn.GELU(), nn.Linear(4 * hidden_size, hidden_size)
    )


def _cosines(vectors: Tensor) -> Tensor:
    """Cosine of every pair of rows, (batch, batch)."""
    unit = functional.normalize(vectors.float(), dim=-1)
    return unit @ unit.T
