"""Relevance of the picture to the text in RAP (Section 3.3, Equations 1 to 8, Algorithm 1)."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from mmie.blocks.all_reduce import sum_over_processes
from mmie.blocks.attention import AttentionPooling, masked_softmax

CosineNorm = Literal["words", "views"]
GateNormName = Literal["batch", "none"]
_ROUNDS = 2  # of message passing over the relevance graph (Figure 4)
_BIAS = 0.5  # initial b_s
_SCALE, _SHIFT = 0.5, 1.5  # of a normalised beta: gates start at tanh(1.5 +- 0.5), 0.76 to 0.96


class Relevance(nn.Module):
    """Relevance of the picture to the text: relevance vectors, a graph over them, and beta.

    It computes in the precision of its weights, also under autocast, because the betas of posts
    differ by less than the precision of bfloat16.

    Args:
        hidden_size: Width of text and view vectors (d_s).
        size: Width of a relevance vector (d_r).
        sharpness: Factor of the cosines in Equation 3 (lambda).
        cosine_norm: Axis of the norm in Equation 3: ``words`` or ``views``.
        gate_norm: ``batch`` compares vectors of length 1 and normalises beta over the batch.
            ``none`` does neither.
    """

    def __init__(
        self,
        hidden_size: int,
        size: int = 256,
        sharpness: float = 9.0,
        cosine_norm: CosineNorm = "words",
        gate_norm: GateNormName = "batch",
    ) -> None:
        super().__init__()
        self.sharpness = sharpness
        self.cosine_norm = cosine_norm
        self.text_pooling = AttentionPooling(hidden_size)
        self.view_pooling = AttentionPooling(hidden_size)
        self.compare_global = nn.Linear(hidden_size, size, bias=False)  # W_g
        self.compare_local = nn.Linear(hidden_size, size, bias=False)  # W_l
        self.rounds = nn.ModuleList(GraphRound(size) for _ in range(_ROUNDS))
        # the shift of the normalisation takes the place of b_s
        self.norm = GateNorm() if gate_norm == "batch" else None
        self.score = nn.Linear(size, 1, bias=self.norm is None)  # W_s, b_s
        if self.norm is None:
            nn.init.constant_(self.score.bias, _BIAS)

    def forward(
        self,
        text: Tensor,
        text_mask: Tensor,
        word_mask: Tensor,
        views: Tensor,
        view_mask: Tensor,
        local_mask: Tensor,
    ) -> Tensor:
        """Compute beta = W_s r_g + b_s after the last round (Algorithm 1).

        Args:
            text: (batch, tokens, hidden)
            text_mask: (batch, tokens) bool, True on real tokens.
            word_mask: (batch, tokens) bool, True on subwords of words.
            views: (batch, views, hidden)
            view_mask: (batch, views) bool, True on the views of the global node.
            local_mask: (batch, views) bool, True on the views that words attend to.

        Returns:
            (batch,)
        """
        with torch.autocast(text.device.type, enabled=False):
            text, views = text.to(self.score.weight.dtype), views.to(self.score.weight.dtype)
            if self.norm is not None:
                text = functional.normalize(text, dim=-1)  # (batch, tokens, hidden)
                views = functional.normalize(views, dim=-1)  # (batch, views, hidden)
            whole_text = self.text_pooling(text, text_mask)  # (batch, hidden)
            whole_picture = self.view_pooling(views, view_mask)  # (batch, hidden)
            global_node = self.compare(whole_text, whole_picture, self.compare_global)
            attended = self.attend_views(text, word_mask, views, local_mask)
            local_nodes = self.compare(text, attended, self.compare_local)
            nodes = torch.cat([global_node.unsqueeze(1), local_nodes], 1)
            node_mask = functional.pad(word_mask, (1, 0), value=True)  # (batch, 1 + tokens)
            for graph_round in self.rounds:
                nodes = graph_round(nodes, node_mask)  # (batch, 1 + tokens, size)
            beta: Tensor = self.score(nodes[:, 0]).squeeze(-1)  # (batch,)
            return beta if self.norm is None else self.norm(beta, view_mask.any(1))

    def compare(self, left: Tensor, right: Tensor, weight: nn.Linear) -> Tensor:
        """Compute the relevance vector r of two vectors (Equations 1 and 5).

        r(a, b; W) = W|a - b|^2 / ||W|a - b|^2||_2, of a / ||a||_2 and b / ||b||_2 with
        ``gate_norm: batch``.

        Args:
            left: (..., hidden) a.
            right: (..., hidden) b.
            weight: W.

        Returns:
            (..., size)
        """
        if self.norm is not None:
            left, right = functional.normalize(left, dim=-1), functional.normalize(right, dim=-1)
        return functional.normalize(weight((left - right).square()), dim=-1)

    def attend_views(
        self, text: Tensor, word_mask: Tensor, views: Tensor, view_mask: Tensor
    ) -> Tensor:
        """Compute a_i = sum_j softmax_j(lambda c_ij / norm) v_j (Equations 2 to 4).

        c_ij = [cos(t_i, v_j)]_+ is 0 for masked views. The norm is sqrt(sum_i' c_i'j^2) over the
        words, or sqrt(sum_j' c_ij'^2) over the views.

        Args:
            text: (batch, tokens, hidden) t.
            word_mask: (batch, tokens) bool, True on subwords of words.
            views: (batch, views, hidden) v.
            view_mask: (batch, views) bool, True on views that words attend to.

        Returns:
            (batch, tokens, hidden), which has a meaning for words only.
        """
        unit_text = functional.normalize(text, dim=-1)  # (batch, tokens, hidden)
        unit_views = functional.normalize(views, dim=-1)  # (batch, views, hidden)
        cosines = (unit_text @ unit_views.transpose(1, 2)).relu()  # (batch, tokens, views)
        mask = view_mask.unsqueeze(1)  # (batch, 1, views)
        cosines = cosines * mask * word_mask.unsqueeze(-1)
        norm_axis = 1 if self.cosine_norm == "words" else 2
        scores = self.sharpness * functional.normalize(cosines, dim=norm_axis)
        return masked_softmax(scores, mask) @ views


class GraphRound(nn.Module):
    """Round of message passing over the relevance graph, with weights of its own.

    Args:
        size: Width of a relevance vector.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.source = nn.Linear(size, size, bias=False)  # W_src
        self.target = nn.Linear(size, size, bias=False)  # W_tgt
        self.update = nn.Linear(size, size, bias=False)  # W_r

    def forward(self, nodes: Tensor, mask: Tensor) -> Tensor:
        """Compute ReLU(W_r sum_t e_st r_t) for every node s (Equations 6 to 8).

        e_st = softmax_t((W_src r_s) . (W_tgt r_t))

        Args:
            nodes: (batch, nodes, size) r.
            mask: (batch, nodes) bool, True on nodes of the graph.

        Returns:
            (batch, nodes, size)
        """
        scores = self.source(nodes) @ self.target(nodes).transpose(1, 2)  # (batch, nodes, nodes)
        edges = masked_softmax(scores, mask.unsqueeze(1))  # (batch, nodes, nodes)
        return torch.relu(self.update(edges @ nodes))


class GateNorm(nn.Module):
    """Batch normalisation of beta over the posts with pictures of all processes.

    Inference uses running statistics, and so does training on fewer than two such posts. The first
    statistics are averaged with equal weights, later ones exponentially, so that the initial mean
    and variance have no weight after the first batch.

    Gates start nearly open. What the views add has a large part that all pictures share. Gates that
    start between -0.5 and 0.9 multiply this part by a random number, which hides what differs from
    picture to picture.

    Source: Ioffe and Szegedy, Batch Normalization, ICML 2015.

    Args:
        momentum: Smallest weight of a batch in the running statistics.
        eps: Number added to the variance.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches: Tensor

    def __init__(self, momentum: float = 0.1, eps: float = 1e-10) -> None:
        super().__init__()
        self.momentum = momentum
        self.eps = eps
        self.scale = nn.Parameter(torch.full((1,), _SCALE))
        self.shift = nn.Parameter(torch.full((1,), _SHIFT))
        self.register_buffer("running_mean", torch.zeros(1))
        self.register_buffer("running_var", torch.ones(1))
        self.register_buffer("num_batches", torch.zeros(1))

    def forward(self, beta: Tensor, has_picture: Tensor) -> Tensor:
        """Compute scale (beta - mean) / sqrt(variance + eps) + shift.

        Args:
            beta: (batch,)
            has_picture: (batch,) bool

        Returns:
            (batch,)
        """
        if self.training:
            mean, variance = self.batch_statistics(beta, has_picture)  # (1,) each
        else:
            mean, variance = self.running_mean, self.running_var  # (1,) each
        return self.scale * (beta - mean) / torch.sqrt(variance + self.eps) + self.shift

    def batch_statistics(self, beta: Tensor, has_picture: Tensor) -> tuple[Tensor, Tensor]:
        """Compute mean and variance over the posts with pictures, and update the running ones.

        Args:
            beta: (batch,)
            has_picture: (batch,) bool

        Returns:
            Mean and variance, (1,) each: the running ones if there are fewer than two such posts.
        """
        weights = has_picture.to(beta.dtype)  # (batch,)
        sums = torch.stack([weights.sum(), (beta * weights).sum()])  # (2,)
        count, total = sum_over_processes(sums).split(1)  # (1,) each
        mean = total / count.clamp(min=1)
        squares = ((beta - mean).square() * weights).sum(0, keepdim=True)  # (1,)
        squares = sum_over_processes(squares)
        is_enough = count > 1  # (1,) bool
        used_mean = mean.where(is_enough, self.running_mean)
        used_variance = (squares / count.clamp(min=1)).where(is_enough, self.running_var)
        with torch.no_grad():
            self.num_batches += is_enough
            share = (1 / self.num_batches.clamp(min=1)).clamp(min=self.momentum) * is_enough
            unbiased = squares / (count - 1).clamp(min=1)  # (1,)
            self.running_mean.lerp_(mean, share)
            self.running_var.lerp_(unbiased, share)
        return used_mean, used_variance
