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
E_t, all views (Section 3.2)        `RAP.features`                (batch, tokens, hidden),
                                                                  (batch, views, hidden)
views of E_v                        `RAP.local_mask`              (batch, views)
relevance vector (Equations 1, 5)   `Relevance.compare`           (..., relevance_size)
attended picture (Equations 2-4)    `Relevance.attend_views`      (batch, tokens, hidden)
graph (Equations 6-8)               `GraphRound.forward`          (batch, 1 + tokens,
                                                                  relevance_size)
beta (Algorithm 1)                  `RAP.beta`                    (batch,)
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

`Relevance` and `GraphRound` are in `mmie.blocks.relevance`, the units and the router in
`mmie.blocks.dynamic_fusion`.

**Departures.**

Relevance:

- The gate as printed opens fully for every post with a picture, so that ``relevance: false`` is the
  same model. By default (``gate_norm: batch``) Equations 1 and 5 compare vectors divided by their
  length, as SGRAF does, and the means of Equations 2 and 4 are taken over such vectors. beta is
  normalised over the posts with pictures of a batch, of all processes, with a scale from 0.5 and a
  shift from 1.5, so that gates start nearly open. Inference and batches with fewer than two such
  posts use running statistics. ``gate_norm: none`` is the paper with b_s from 0.5.
- The sums and indices of Equations 3 and 4 contradict each other. The equations are those of SGRAF
  (Diao et al., AAAI 2021), whose code takes the norm over the words and the softmax over the
  regions. ``cosine_norm: views`` takes the norm over the views, as the printed index says.
- E_v of Equations 3 to 5 and 13 has the object crops alone, as in the paper. The whole picture
  takes their place in a post without a readable crop, and is pooled with them for the global node.
  ``local_views: all`` adds it to E_v.
- Equation 7 sums over t, not over s as printed. Algorithm 1 omits the round of W_src, W_tgt and
  W_r and counts one round more. Equations 6 to 8 and Figure 4 are followed: two rounds, each with
  weights of its own.
- Graph nodes are subwords of the post's words, without ``[CLS]``, markers and context.
- Self-attention pooling is one linear score and a softmax.
- lambda (``sharpness``) is 9, as in SGRAF, and the width of relevance vectors 256. The paper prints
  neither.

Fusion and routing:

- Equation 13 has one Norm of E_v and X, which have different roles. Here the queries and the views
  have a LayerNorm each.
- FFN and MLP of the units are four times as wide inside, with GELU and without dropout. Units have
  the heads of the text encoder. The hidden layer of a router is 128 wide, with ReLU. The paper
  prints none of these.
- Indices of Equations 17 to 19 contradict each other. A router reads the input of its own unit and
  weighs the paths to the next layer, as in DIME (Qu et al., SIGIR 2021).
- Path weights into a unit are divided by their sum, else the scale grows with depth
  (``normalize_paths: false`` is Equation 17). If all are 0, the RAU's output passes, without RAU
  the first unit's. Routers start with bias 1.5, so that all paths are open. The scheme is DIME's.
- Without a readable view, Equation 13 gives 0 and the prompt comes from the text alone.

Path loss:

- Equation 22 prints cos(mu_x - mu_y), read as cos(mu_x, mu_y). Pairs x = y, whose difference is 0,
  are left out. ``[CLS]`` is detached. ``path_reduction: mean`` divides by the number of pairs,
  which the demo configuration does, since its learning rate is high.

Prompt and heads:

- The paper says that prompts are joined to the layers' hidden states. The factor 2 of Equation 23
  and P-tuning v2 mean keys and values, which they are here.
- The prompt has 16 positions, which the paper does not print. The map from tokens to positions
  reads 0 for padding.
- Both passes share one text encoder, trained through both. P-tuning v2 would freeze it
  (``freeze_text: true``).
- Equation 26 is applied to the states of the opening entity markers, with a linear map that the
  paper omits.

Training and data:

- ResNet-101 is frozen and in eval mode, which the paper does not say. Pictures are scaled and cut
  out of the middle (``data.resize: squash`` scales both sides), which it does not say either.
- The paper has one learning rate. Here the head has a higher one (``head_lr``: 1e-2 for entities,
  1e-3 for relations in the configurations).
- After the warm-up the rates fall linearly to 0. AdamW has weight decay 0.01 for all weights but
  biases, norms and embeddings, and the head has dropout 0.1. The paper is silent.
- Texts are cut at 128 tokens for entities and 80 for relations, which the paper does not print.
- The epoch is chosen by F1 on the validation split, from the first epoch on.
- Tags are BIO, as in the paper, and the CRF forbids invalid sequences. ``data.tag_scheme: bioes``
  is not in the paper.

Beyond the paper, which has one picture:

- Further pictures (``data.num_images``) are whole pictures: they are pooled for the global node,
  and belong to E_v in a post without a readable crop, or with ``local_views: all``.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.nn import functional

from mmie.blocks.dynamic_fusion import DynamicFusion, UnitName
from mmie.blocks.features import FeatureSpec, text_feature_spec
from mmie.blocks.precision import at_least_float32
from mmie.blocks.prefix_attention import Prefix, split_heads
from mmie.blocks.relevance import CosineNorm, GateNormName, Relevance
from mmie.blocks.vision import VisualOutput
from mmie.methods import papers
from mmie.methods.inspection import inspecting
from mmie.methods.multimodal import MultimodalModule
from mmie.types import Batch, Encoding, Schema

LocalViews = Literal["objects", "all"]
PathReduction = Literal["sum", "mean"]


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
        local_views: Views that words attend to, for relevance and in the fusion: ``objects``, or
            ``all`` for the whole picture as well. A post without readable object crops has the
            whole picture.
        gate_norm: ``batch`` compares vectors of length 1 and normalises beta over the posts with
            pictures of a batch. ``none`` does neither, as the paper prints it.
        cosine_norm: Axis of the norm in Equation 3: ``words`` or ``views``.
        path_reduction: ``sum`` over the pairs of posts (Equation 22), or their ``mean``.
        sharpness: Factor of the cosines in Equation 3 (lambda).
        relevance_size: Width of a relevance vector (d_r).
        router_size: Width of the hidden layer of a router.
        **shared: See `MultimodalModule` and `ExtractionModule`.

    Raises:
        ValueError: ``units`` is empty or names one twice, or a number of layers or positions or a
            width is below 1.
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
        local_views: LocalViews = "objects",
        gate_norm: GateNormName = "batch",
        cosine_norm: CosineNorm = "words",
        path_reduction: PathReduction = "sum",
        sharpness: float = 9.0,
        relevance_size: int = 256,
        router_size: int = 128,
        **shared: Any,
    ) -> None:
        super().__init__(schema, vision_backbone=vision_backbone, **shared)
        sizes = {
            "num_fusion_layers": num_fusion_layers,
            "prompt_length": prompt_length,
            "relevance_size": relevance_size,
            "router_size": router_size,
        }
        if not units or len(set(units)) < len(units) or min(sizes.values()) < 1:
            raise ValueError(
                f"units {list(units)} must be one or more, each once, and {sizes} at least 1"
            )
        hidden_size, num_layers = self.text.hidden_size, self.text.num_layers
        fuses = "cfu" in units
        self.path_weight = path_weight
        self.prompting = prompting
        self.local_views = local_views
        self.path_reduction = path_reduction
        self.text_map = nn.Linear(hidden_size, hidden_size)
        self.view_map = nn.Linear(self.vision.channels[-1], hidden_size) if fuses else None
        self.relevance = None
        if relevance and fuses:
            self.relevance = Relevance(
                hidden_size, relevance_size, sharpness, cosine_norm, gate_norm
            )
        self.fusion = DynamicFusion(
            hidden_size, self.text.num_heads, num_fusion_layers, units, normalize_paths, router_size
        )
        if prompting:
            self.text.check_reads_prefix()
            self.length_map = nn.Linear(schema.max_tokens, prompt_length)
            self.prompt_in = nn.Linear(hidden_size, hidden_size)  # W_in
            self.prompt_out = nn.Linear(hidden_size, 2 * num_layers * hidden_size)  # W_out
        register: Any = self.register_load_state_dict_pre_hook  # has no annotations
        register(_convert_old_weights)

    def encode(self, batch: Batch) -> Encoding:
        """Run the text encoder with the prompt of the fused states (Sections 3.2 to 3.6)."""
        first_pass = self.first_pass(batch)  # (batch, tokens, hidden)
        text, views = self.features(first_pass, batch)  # (batch, tokens or views, hidden)
        gate = self.gate(text, views, batch)  # (batch,)
        local_mask = self.local_mask(batch)  # (batch, views)
        fused, routing = self.fusion(text, batch.attention_mask, views, local_mask, gate)
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
            E_t (batch, tokens, hidden), and the vectors of all views (batch, views, hidden), of
            which E_v has those of `local_mask`. A masked view is 0, and so is every view without a
            CFU, the only unit that reads views.
        """
        text = self.text_map(first_pass)  # (batch, tokens, hidden)
        if self.view_map is None:
            return text, text.new_zeros(*batch.view_mask.shape, text.shape[-1])
        (pooled,) = self.encode_images(batch)  # (batch, views, channels)
        return text, self.view_map(pooled) * batch.view_mask.unsqueeze(-1)

    def local_mask(self, batch: Batch) -> Tensor:
        """Mark the views of E_v, (batch, views) bool, as ``local_views`` says."""
        if self.local_views == "all":
            return batch.view_mask
        objects = batch.view_mask.clone()  # (batch, views)
        objects[:, : self.schema.num_images] = False
        return objects.where(objects.any(1, keepdim=True), batch.view_mask)

    def beta(self, text: Tensor, views: Tensor, batch: Batch) -> Tensor | None:
        """Compute the relevance of the picture (Algorithm 1), None without ``relevance``.

        Args:
            text: (batch, tokens, hidden)
            views: (batch, views, hidden)
            batch: Masks of both.

        Returns:
            (batch,)
        """
        if self.relevance is None:
            return None
        masks = (batch.view_mask, self.local_mask(batch))  # (batch, views) each
        beta: Tensor = self.relevance(text, batch.attention_mask, batch.text_mask, views, *masks)
        return beta

    def gate(self, text: Tensor, views: Tensor, batch: Batch) -> Tensor:
        """Compute R-Gate(beta) = tanh(beta) (Equation 14), 1 without ``relevance``.

        Args:
            text: (batch, tokens, hidden)
            views: (batch, views, hidden)
            batch: Masks of both.

        Returns:
            (batch,)
        """
        beta = self.beta(text, views, batch)  # (batch,)
        return text.new_ones(len(batch)) if beta is None else torch.tanh(beta)

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
        """Compute the sum over posts x, y of (cos(g_x, g_y) - cos(cls_x, cls_y))^2 (Equation 22).

        The cosines are computed in float32 at least, also under autocast: those of routings differ
        by less than the precision of bfloat16.

        Args:
            routing: (batch, paths) all path weights g of a post.
            cls: (batch, hidden) ``[CLS]`` states of the first pass, which get no gradient.

        Returns:
            (), 0 for a batch of one. With ``path_reduction: mean`` the mean over x != y.
        """
        batch = len(routing)
        with torch.autocast(routing.device.type, enabled=False):
            difference = _cosines(routing) - _cosines(cls.detach())  # (batch, batch)
            # of a post with itself the difference is 0, but for rounding and closed paths
            is_other = ~torch.eye(batch, dtype=torch.bool, device=routing.device)
            total = (difference.square() * is_other).sum()
        num_pairs = max(1, batch * (batch - 1))
        return total / num_pairs if self.path_reduction == "mean" else total

    def diagnose(self, batch: Batch) -> dict[str, Tensor]:
        """Add the method's own numbers (Figures 6 to 9) to those of `ExtractionModule.diagnose`.

        ========== ============================== ==================================================
        relevance  (batch,)                       beta, whose tanh is the gate; only with
                                                  ``relevance``
        routing    (batch, layers, units,         weights of the routers, 0 to 1; the last layer has
                   targets)                       one target
        paths      the same                       the weights as they are applied
        ========== ============================== ==================================================
        """
        with inspecting(self):
            first_pass = self.first_pass(batch)  # (batch, tokens, hidden)
            text, views = self.features(first_pass, batch)  # (batch, tokens or views, hidden)
            gate = self.gate(text, views, batch)  # (batch,)
            local_mask = self.local_mask(batch)  # (batch, views)
            _, routing = self.fusion(text, batch.attention_mask, views, local_mask, gate)
            diagnosis = super().diagnose(batch)
            diagnosis["routing"], diagnosis["paths"] = self.fusion.split_by_layer(routing)
            beta = self.beta(text, views, batch)  # (batch,)
            if beta is not None:
                diagnosis["relevance"] = beta
            return diagnosis


def _cosines(vectors: Tensor) -> Tensor:
    """Compute the cosine of every pair of rows, (batch, batch), in float32 at least."""
    unit = functional.normalize(at_least_float32(vectors), dim=-1)  # (batch, width)
    return unit @ unit.T


def _convert_old_weights(
    module: nn.Module, state: dict[str, Any], prefix: str, *settings: Any
) -> None:
    """Convert weights of version 0.1 in place, and warn that they were trained for other equations.

    There the rounds of the graph shared weights, and views and beta had no norms. Every round gets
    a copy of the shared weights, and the norms keep the values that the module has.

    Args:
        module: The method that loads the weights.
        state: Its weights and buffers by name.
        prefix: Beginning of the method's names in ``state``.
        *settings: Other arguments of a hook, which are not used.
    """
    own = module.state_dict()
    norms = [name for name in own if ".norm_views." in name]
    queries = [name.replace("norm_views", "norm_attention") for name in norms]
    is_loaded = any(f"{prefix}{name}" in state for name in queries)
    if not is_loaded or any(f"{prefix}{name}" in state for name in norms):
        return
    rank_zero_warn(
        "these weights are of RAP in version 0.1, whose relevance and cross-modal units computed "
        "something else: train them further before you use them"
    )
    for name in own:
        if name.startswith("relevance.rounds."):
            *_, layer, kind = name.split(".")
            shared = state.get(f"{prefix}relevance.{layer}.{kind}")
            if shared is not None:
                state[f"{prefix}{name}"] = shared
        if name.startswith("relevance.") or name in norms:
            state.setdefault(f"{prefix}{name}", own[name])
    for layer in ("source.weight", "target.weight", "update.weight", "score.bias"):
        if f"relevance.{layer}" not in own:
            state.pop(f"{prefix}relevance.{layer}", None)
