"""RAP: relevance-aware prompts from a dynamic router.

Chen, Li, Liu, Zhang, Ma, Relevance-aware prompt-tuning method for multimodal social entity and
relation extraction, Neurocomputing 640, 2025, https://doi.org/10.1016/j.neucom.2025.130316

1. A first pass of the text encoder and a frozen ResNet-101 give vectors of tokens and of views.
2. A graph over the relevance of the picture to the post and to each word gives one number, beta.
3. Layers of three units (keep, reason, fuse, where beta gates the fusion) are connected by path
   weights that a router computes per post.
4. The fused states are mapped to a prompt: keys and values for every text layer.
5. A second pass of the text encoder, over the same tokens, attends to the prompt. The shared head
   classifies its states.

==================================  ============================  ==================================
paper                               here                          shape
==================================  ============================  ==================================
E_t, E_v (Section 3.2)              `RAP.features`                (batch, tokens, hidden),
                                                                  (batch, views, hidden)
relevance vector (Equations 1, 5)   `Relevance.compare`           (..., 256)
attended picture (Equations 2-4)    `Relevance.attend_views`      (batch, tokens, hidden)
graph (Equations 6-8)               `Relevance.propagate`         (batch, 1 + tokens, 256)
beta (Algorithm 1)                  `Relevance.forward`           (batch,)
U_0 (Equation 10)                   `RAU.forward`                 (batch, tokens, hidden)
U_1 (Equations 11, 12)              `FSRU.forward`                (batch, tokens, hidden)
U_2 (Equations 13-16)               `CFU.forward`                 (batch, tokens, hidden)
path weights (Equation 19)          `Router.forward`              (batch, targets)
routing (Equations 17, 18)          `DynamicFusion.forward`       (batch, tokens, hidden)
path loss (Equation 22)             `RAP.router_loss`             ()
prompt (Equation 23)                `RAP.prompt`                  (layers, batch, heads, prompt,
                                                                  head_size)
second pass (Equation 24)           `RAP.encode`                  (batch, tokens, hidden)
==================================  ============================  ==================================

**Departures.**

- The sums of Equation 3 normalise over views, since the paper's indices contradict each other.
- Path weights into a unit are normalised over the units that they come from, else the scale grows
  with depth (``normalize_paths: false`` leaves them). Routers start with all paths open. Both
  follow the routing scheme of DIME (Qu et al., SIGIR 2021).
- beta starts so that its gate is open: a gate near 0 hides the picture and does not learn to open.
- Equation 22 is averaged over pairs, since a sum depends on the batch size.
- Graph nodes are subwords of the post's words, without ``[CLS]``.
- W_out starts small, so that the second pass starts close to the plain encoder.
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
        schema: Description of the data. The command line links it from the data module.
        vision_backbone: Name of a ``timm`` model, or local folder of one.
        num_fusion_layers: Layers of units (L_f): 4 for NER, 3 for RE in the paper.
        prompt_length: Prompt positions (m_p).
        units: Units of a layer.
        relevance: Gate the fusion by beta. False leaves the gate open ("w/o MRR").
        normalize_paths: Make the path weights into a unit sum to 1.
        path_weight: Weight of the path loss (gamma).
        prompting: Classify the states of the prompted second pass. False classifies the fused
            states themselves.
        **shared: See `MultimodalModule` and `ExtractionModule`.

    Raises:
        ValueError: ``units`` is empty or names one twice, or there is no layer or prompt position.
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
                f"units {list(units)} must be one or more, each once; num_fusion_layers "
                f"{num_fusion_layers} and prompt_length {prompt_length} at least 1"
            )
        hidden_size, num_layers = self.text.hidden_size, self.text.num_layers
        fuses = "cfu" in units
        self.path_weight = path_weight
        self.prompting = prompting
        self.text_map = nn.Linear(hidden_size, hidden_size)
        self.view_map = nn.Linear(self.vision.channels[-1], hidden_size) if fuses else None
        self.relevance = Relevance(hidden_size) if relevance and fuses else None
        self.fusion = DynamicFusion(
            hidden_size, self.text.num_heads, num_fusion_layers, units, normalize_paths
        )
        if prompting:
            self.text.check_reads_prefix()
            self.length_map = nn.Linear(schema.max_tokens, prompt_length)
            self.prompt_in = nn.Linear(hidden_size, hidden_size)  # W_in
            self.prompt_out = nn.Linear(hidden_size, 2 * num_layers * hidden_size)  # W_out
            nn.init.normal_(self.prompt_out.weight, std=0.02 / math.sqrt(2 * num_layers))
            nn.init.zeros_(self.prompt_out.bias)

    def encode(self, batch: Batch) -> Encoding:
        """Run the text encoder with the prompt of the fused states (Sections 3.2 to 3.6)."""
        first_pass = self.first_pass(batch)  # (batch, tokens, hidden)
        text, views = self.features(first_pass, batch)  # (batch, tokens or views, hidden)
        gate = self.gate(text, views, batch)  # (batch,)
        fused, routing = self.fusion(text, batch.attention_mask, views, batch.view_mask, gate)
        losses = {}
        if self.path_weight:
            losses["router"] = self.path_weight * self.router_loss(routing, first_pass[:, 0])
        if not self.prompting:
            return Encoding(fused, losses)
        prompt = self.prompt(fused, batch.attention_mask)
        return Encoding(self.encode_text(batch, prompt), losses)

    def first_pass(self, batch: Batch) -> Tensor:
        """Encode the text without a prompt, or take its cached states if the encoder is frozen.

        Returns:
            (batch, tokens, hidden)
        """
        if "first_pass" not in batch.features:
            return self.encode_text(batch)
        cached = batch.features["first_pass"]  # (batch, max_tokens * hidden)
        cached = cached.unflatten(1, (-1, self.text.hidden_size))  # (batch, max_tokens, hidden)
        states: Tensor = cached[:, : batch.input_ids.shape[1]].to(self.text_map.weight.dtype)
        return states

    def feature_specs(self) -> list[FeatureSpec]:
        """Specify the features of the backbone and the first pass of a frozen text encoder."""
        max_tokens = self.schema.max_tokens

        def pad_and_flatten(states: Tensor) -> Tensor:
            num_missing = max_tokens - states.shape[1]
            padded = functional.pad(states, (0, 0, 0, num_missing))  # (posts, max_tokens, hidden)
            return padded.flatten(1)

        specs = super().feature_specs()
        if self.text.frozen:
            specs.append(
                text_feature_spec(self.text, "first_pass", pad_and_flatten, max_tokens=max_tokens)
            )
        return specs

    def features(self, first_pass: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """Map tokens and views to E_t and E_v (Section 3.2).

        Args:
            first_pass: (batch, tokens, hidden)
            batch: The posts.

        Returns:
            E_t (batch, tokens, hidden) and E_v (batch, views, hidden). A masked view is 0, and so
            is every view without a CFU, the only unit that reads views.
        """
        text = self.text_map(first_pass)  # (batch, tokens, hidden)
        if self.view_map is None:
            return text, text.new_zeros(*batch.view_mask.shape, text.shape[-1])
        (pooled,) = self.encode_images(batch)  # (batch, views, channels)
        return text, self.view_map(pooled) * batch.view_mask.unsqueeze(-1)

    def gate(self, text: Tensor, views: Tensor, batch: Batch) -> Tensor:
        """Compute R-Gate(beta) = tanh(beta) (Equation 14), 1 without relevance.

        Args:
            text: (batch, tokens, hidden)
            views: (batch, views, hidden)
            batch: Masks of both.

        Returns:
            (batch,)
        """
        if self.relevance is None:
            return text.new_ones(len(batch))
        beta = self.relevance(text, batch.attention_mask, batch.text_mask, views, batch.view_mask)
        return torch.tanh(beta)

    def prompt(self, fused: Tensor, mask: Tensor) -> Prefix:
        """Compute X_prompt = W_out ReLU(W_in X') (Equation 23).

        X' is X_mm, mapped along its tokens to the prompt's length.

        Args:
            fused: (batch, tokens, hidden) X_mm.
            mask: (batch, tokens) bool, True on real tokens.

        Returns:
            Keys and values (layers, batch, heads, prompt, head_size).
        """
        num_tokens = fused.shape[1]
        real = (fused * mask.unsqueeze(-1)).transpose(1, 2)  # (batch, hidden, tokens)
        weight = self.length_map.weight[:, :num_tokens]  # (prompt, tokens)
        mapped = functional.linear(real, weight, self.length_map.bias)  # (batch, hidden, prompt)
        inner = torch.relu(self.prompt_in(mapped.transpose(1, 2)))  # (batch, prompt, hidden)
        prompts = self.prompt_out(inner)  # (batch, prompt, layers * 2 * hidden)
        prompts = prompts.unflatten(2, (self.text.num_layers, 2, -1))
        keys, values = prompts.permute(3, 2, 0, 1, 4)  # (layers, batch, prompt, hidden) each
        num_heads = self.text.num_heads
        return Prefix(split_heads(keys, num_heads), split_heads(values, num_heads))

    def router_loss(self, routing: Tensor, cls: Tensor) -> Tensor:
        """Compute the mean over i != j of (cos(g_i, g_j) - cos(cls_i, cls_j))^2 (Equation 22).

        Args:
            routing: (batch, paths) all path weights g of a post.
            cls: (batch, hidden) ``[CLS]`` states of the first pass, which get no gradient.

        Returns:
            (), 0 for a batch of one.
        """
        batch = len(routing)
        difference = _cosines(routing) - _cosines(cls.detach())  # (batch, batch)
        is_other = ~torch.eye(batch, dtype=torch.bool, device=routing.device)  # (batch, batch)
        return (difference.square() * is_other).sum() / max(1, batch * (batch - 1))

    def diagnose(self, batch: Batch) -> dict[str, Tensor]:
        """Add the method's own numbers (Figures 6 to 9) to those of `ExtractionModule.diagnose`.

        ========== ============================== ==================================================
        relevance  (batch,)                       beta, whose tanh is the gate; only with
                                                  ``relevance``
        routing    (batch, layers, units,         weights of the routers, 0 to 1; the last layer has
                   targets)                       one target
        paths      the same                       the weights as they are applied
        unprompted (batch, words or 1, width)     ``representation`` of the first pass, which has no
                                                  prompt
        ========== ============================== ==================================================
        """
        with inspecting(self):
            first_pass = self.first_pass(batch)  # (batch, tokens, hidden)
            text, views = self.features(first_pass, batch)  # (batch, tokens or views, hidden)
            gate = self.gate(text, views, batch)  # (batch,)
            _, routing = self.fusion(text, batch.attention_mask, views, batch.view_mask, gate)
            diagnosis = super().diagnose(batch)
            diagnosis["unprompted"] = self.represent(first_pass, batch)
            diagnosis["routing"], diagnosis["paths"] = self.fusion.split_by_layer(routing)
            if self.relevance is not None:
                diagnosis["relevance"] = self.relevance(
                    text, batch.attention_mask, batch.text_mask, views, batch.view_mask
                )
            return diagnosis


class Relevance(nn.Module):
    """Relevance of the picture to the text: relevance vectors, a graph over them, and beta.

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
        self.source = nn.Linear(size, size, bias=False)  # W_src
        self.target = nn.Linear(size, size, bias=False)  # W_tgt
        self.update = nn.Linear(size, size, bias=False)  # W_r
        self.score = nn.Linear(size, 1)  # W_s, b_s
        nn.init.constant_(self.score.bias, _OPEN)

    def forward(
        self, text: Tensor, text_mask: Tensor, word_mask: Tensor, views: Tensor, view_mask: Tensor
    ) -> Tensor:
        """Compute beta = W_s r_g + b_s after the last round (Algorithm 1).

        Args:
            text: (batch, tokens, hidden)
            text_mask: (batch, tokens) bool, True on real tokens.
            word_mask: (batch, tokens) bool, True on subwords of words.
            views: (batch, views, hidden)
            view_mask: (batch, views) bool

        Returns:
            (batch,)
        """
        whole_text = self.text_pooling(text, text_mask)  # (batch, hidden)
        whole_picture = self.view_pooling(views, view_mask)  # (batch, hidden)
        global_node = self.compare(whole_text, whole_picture, self.compare_global)  # (batch, size)
        attended = self.attend_views(text, views, view_mask)  # (batch, tokens, hidden)
        local_nodes = self.compare(text, attended, self.compare_local)  # (batch, tokens, size)
        nodes = torch.cat([global_node.unsqueeze(1), local_nodes], 1)  # (batch, 1 + tokens, size)
        node_mask = functional.pad(word_mask, (1, 0), value=True)  # (batch, 1 + tokens)
        nodes = self.propagate(nodes, node_mask)  # (batch, 1 + tokens, size)
        beta: Tensor = self.score(nodes[:, 0]).squeeze(-1)
        return beta

    def compare(self, left: Tensor, right: Tensor, weight: nn.Linear) -> Tensor:
        """Compute the relevance vector r of two vectors (Equations 1 and 5).

        r(a, b; W) = W|a - b|^2 / ||W|a - b|^2||_2

        Args:
            left: (..., hidden) a.
            right: (..., hidden) b.
            weight: W.

        Returns:
            (..., size)
        """
        return functional.normalize(weight((left - right).square()), dim=-1)

    def attend_views(self, text: Tensor, views: Tensor, view_mask: Tensor) -> Tensor:
        """Compute a_i = sum_j softmax_j(9 c_ij / sqrt(sum_j c_ij^2)) v_j (Equations 2 to 4).

        c_ij = [cos(t_i, v_j)]_+ is 0 for masked views.

        Args:
            text: (batch, tokens, hidden) t.
            views: (batch, views, hidden) v.
            view_mask: (batch, views) bool

        Returns:
            (batch, tokens, hidden)
        """
        unit_text = functional.normalize(text, dim=-1)  # (batch, tokens, hidden)
        unit_views = functional.normalize(views, dim=-1)  # (batch, views, hidden)
        cosines = unit_text @ unit_views.transpose(1, 2)  # (batch, tokens, views)
        mask = view_mask.unsqueeze(1)  # (batch, 1, views)
        scores = _SHARPNESS * functional.normalize(cosines.relu() * mask, dim=-1)
        return masked_softmax(scores, mask) @ views

    def propagate(self, nodes: Tensor, mask: Tensor) -> Tensor:
        """Update r_s <- ReLU(W_r sum_t e_st r_t) in two rounds (Equations 6 to 8).

        e_st = softmax_t((W_src r_s) . (W_tgt r_t))

        Args:
            nodes: (batch, nodes, size) r.
            mask: (batch, nodes) bool, True on nodes of the graph.

        Returns:
            (batch, nodes, size)
        """
        for _ in range(_ROUNDS):
            sources = self.source(nodes)  # (batch, nodes, size)
            targets = self.target(nodes)  # (batch, nodes, size)
            scores = sources @ targets.transpose(1, 2)  # (batch, nodes, nodes)
            edges = masked_softmax(scores, mask.unsqueeze(1))  # (batch, nodes, nodes)
            nodes = torch.relu(self.update(edges @ nodes))
        return nodes


class RAU(nn.Module):
    """Rectified activation unit, U_0(X) = ReLU(X), which keeps what needs no picture."""

    def __init__(self, hidden_size: int, num_heads: int) -> None:
        super().__init__()

    def forward(
        self, text: Tensor, mask: Tensor, views: Tensor, view_mask: Tensor, gate: Tensor
    ) -> Tensor:
        """Compute ReLU(X) (Equation 10), (batch, tokens, hidden)."""
        return text.relu()


class FSRU(nn.Module):
    """Feature semantic reasoning unit, self-attention over the text."""

    def __init__(self, hidden_size: int, num_heads: int) -> None:
        super().__init__()
        self.attention = MultiHeadAttention(hidden_size, num_heads)
        self.norm_attention = nn.LayerNorm(hidden_size)
        self.feed_forward = _feed_forward(hidden_size)
        self.norm = nn.LayerNorm(hidden_size)

    def forward(
        self, text: Tensor, mask: Tensor, views: Tensor, view_mask: Tensor, gate: Tensor
    ) -> Tensor:
        """Compute Norm(FFN(Y) + Y), Y = Norm(X + MHA(X)) (Equations 11 and 12).

        Args:
            text: (batch, tokens, hidden) X.
            mask: (batch, tokens) bool
            views: Not used.
            view_mask: Not used.
            gate: Not used.

        Returns:
            (batch, tokens, hidden)
        """
        attended = self.norm_attention(text + self.attention(text, text, mask))
        result: Tensor = self.norm(self.feed_forward(attended) + attended)
        return result


class CFU(nn.Module):
    """Cross-modal fusion unit, gated attention from the text to the views."""

    def __init__(self, hidden_size: int, num_heads: int) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(hidden_size)
        self.attention = MultiHeadAttention(hidden_size, num_heads)
        self.norm = nn.LayerNorm(hidden_size)
        self.feed_forward = _feed_forward(hidden_size)

    def forward(
        self, text: Tensor, mask: Tensor, views: Tensor, view_mask: Tensor, gate: Tensor
    ) -> Tensor:
        """Compute Y + MLP(Norm(Y)), Y = X + tanh(beta) MHA(Norm(X), E_v) (Equations 13 to 16).

        Args:
            text: (batch, tokens, hidden) X.
            mask: Not used.
            views: (batch, views, hidden) E_v.
            view_mask: (batch, views) bool
            gate: (batch,) tanh(beta).

        Returns:
            (batch, tokens, hidden)
        """
        attended = self.attention(self.norm_attention(text), views, view_mask)
        fused = text + gate[:, None, None] * attended  # (batch, tokens, hidden)
        result: Tensor = fused + self.feed_forward(self.norm(fused))
        return result


_UNITS: dict[UnitName, type[RAU | FSRU | CFU]] = {"rau": RAU, "fsru": FSRU, "cfu": CFU}


class Router(nn.Sequential):
    """Path weights from a unit to its targets.

    All paths are open at the start.

    Args:
        hidden_size: Width of the unit's input.
        num_targets: Targets.
    """

    def __init__(self, hidden_size: int, num_targets: int) -> None:
        last = nn.Linear(_ROUTER_SIZE, num_targets)
        nn.init.normal_(last.weight, std=0.02)
        nn.init.constant_(last.bias, _OPEN)
        super().__init__(nn.Linear(hidden_size, _ROUTER_SIZE), nn.ReLU(), last)

    def forward(self, states: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        """Compute ReLU(tanh(MLP(mean over tokens))) (Equation 19).

        Args:
            states: (batch, tokens, hidden) input of the unit.
            mask: (batch, tokens) bool

        Returns:
            (batch, targets)
        """
        mean = masked_mean(states, mask)  # (batch, hidden)
        weights: Tensor = super().forward(mean)  # type: ignore[no-untyped-call]
        return torch.tanh(weights).relu()


class DynamicFusion(nn.Module):
    """Layers of units, with a path from every unit to every unit of the next layer.

    A router per unit computes the weights of the paths that leave it.

    Args:
        hidden_size: Width of text and view vectors.
        num_heads: Attention heads of the units.
        num_layers: Layers (L_f).
        units: Units of a layer (U of them).
        normalize_paths: Make the path weights into a unit sum to 1. If all of them are 0, the unit
            receives the first unit's output.
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
        self.num_units = len(units)
        self.num_targets = [*[len(units)] * (num_layers - 1), 1]
        self.layers: Sequence[nn.ModuleList] = nn.ModuleList(  # type: ignore[assignment]
            nn.ModuleList(_UNITS[name](hidden_size, num_heads) for name in units)
            for _ in range(num_layers)
        )
        self.routers: Sequence[nn.ModuleList] = nn.ModuleList(  # type: ignore[assignment]
            nn.ModuleList(Router(hidden_size, count) for _ in units) for count in self.num_targets
        )

    def forward(
        self, text: Tensor, mask: Tensor, views: Tensor, view_mask: Tensor, gate: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Compute the fused states and the path weights (Equations 17 and 18).

        Unit u of a layer computes U_u(X_u), and target t, a unit of the next layer, receives
        X_t = sum_u w_ut U_u(X_u) with path weights w. The last layer has one target, X_mm.

        Args:
            text: (batch, tokens, hidden)
            mask: (batch, tokens) bool
            views: (batch, views, hidden)
            view_mask: (batch, views) bool
            gate: (batch,) tanh(beta)

        Returns:
            X_mm (batch, tokens, hidden), and the path weights (batch, U^2 (L_f - 1) + U).
        """
        inputs = [text] * self.num_units
        routing = []
        for units, routers in zip(self.layers, self.routers, strict=True):
            outputs = [
                unit(states, mask, views, view_mask, gate)
                for unit, states in zip(units, inputs, strict=True)
            ]
            weights = [router(states, mask) for router, states in zip(routers, inputs, strict=True)]
            stacked = torch.stack(outputs, dim=1)  # (batch, units, tokens, hidden)
            paths = torch.stack(weights, dim=1)  # (batch, units, targets)
            routing.append(paths.flatten(1))  # (batch, units * targets)
            mixed = torch.einsum("but,buph->tbph", self.normalize(paths), stacked)
            inputs = list(mixed)  # (batch, tokens, hidden) per target
        return inputs[0], torch.cat(routing, dim=1)

    def split_by_layer(self, routing: Tensor) -> tuple[Tensor, Tensor]:
        """Arrange path weights by layer, as the routers compute them and as they are applied.

        Args:
            routing: (batch, paths) path weights.

        Returns:
            (batch, layers, units, targets) each. The last layer has one target, and 0 for others.
        """
        units = self.num_units
        raw, applied = [], []
        sizes = [units * count for count in self.num_targets]
        for part, count in zip(routing.split(sizes, dim=1), self.num_targets, strict=True):
            paths = part.unflatten(1, (units, count))  # (batch, units, targets)
            padding = (0, units - count)
            raw.append(functional.pad(paths, padding))
            applied.append(functional.pad(self.normalize(paths), padding))
        return torch.stack(raw, dim=1), torch.stack(applied, dim=1)

    def normalize(self, weights: Tensor) -> Tensor:
        """Divide path weights by the sum of those into the same target, if asked for.

        Args:
            weights: (batch, units, targets)

        Returns:
            (batch, units, targets). Where the sum is 0, the first unit has weight 1.
        """
        if not self.normalize_paths:
            return weights
        total = weights.sum(1, keepdim=True)  # (batch, 1, targets)
        first_unit = torch.zeros_like(weights[:, 0], dtype=torch.long)  # (batch, targets)
        only_first = functional.one_hot(first_unit, weights.shape[1]).transpose(1, 2)
        shares = weights / total.where(total > 0, 1)  # (batch, units, targets)
        return torch.where(total > 0, shares, only_first.to(weights))


def _feed_forward(hidden_size: int) -> nn.Sequential:
    """Build two linear maps with GELU between them, four times as wide inside."""
    inner_size = 4 * hidden_size
    return nn.Sequential(
        nn.Linear(hidden_size, inner_size), nn.GELU(), nn.Linear(inner_size, hidden_size)
    )


def _cosines(vectors: Tensor) -> Tensor:
    """Compute the cosine of every pair of rows, (batch, batch)."""
    unit = functional.normalize(vectors.float(), dim=-1)  # (batch, width)
    return unit @ unit.T
