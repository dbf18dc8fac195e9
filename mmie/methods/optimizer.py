"""AdamW that keeps no moments for embeddings of tokens that no post contains."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn


class EmbeddingAdamW(torch.optim.AdamW):
    """AdamW, equal to torch's, with moments for the used rows of embeddings only.

    A row whose gradient was 0 in every step so far has moments of 0, and without weight decay it
    does not move, so it needs no moments. A corpus of tweets uses some thousands of XLM-R's 250,002
    rows. For each weight of the other rows, training holds one number beside the weight (its
    gradient) in place of three.

    To find the used rows the processor waits for the gradient, so embeddings on other devices than
    the CPU are left to torch's own step.

    Args:
        groups: Parameter groups.
        modules: Parts of the model. The weights (rows, width) of the embeddings among them are
            stepped by rows unless they have weight decay. Their gradients may be sparse: see
            `use_sparse_gradients`.

    Source: Loshchilov & Hutter, Decoupled Weight Decay Regularization, ICLR 2019, Algorithm 2.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], modules: Iterable[nn.Module]) -> None:
        super().__init__(groups, fused=True)
        self._embeddings = {part.weight for part in modules if isinstance(part, nn.Embedding)}

    @torch.no_grad()
    def step(  # type: ignore[override]
        self, closure: Callable[[], Tensor] | None = None
    ) -> Tensor | None:
        """Update all parameters, and call a closure that computes loss and gradients before."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        stepped_by_rows = []
        for weight, group in self._embeddings_without_decay():
            if weight.grad is not None:
                stepped_by_rows.append((weight, weight.grad, group))
                weight.grad = None  # torch's step skips parameters without a gradient
        super().step()
        for weight, gradient, group in stepped_by_rows:
            self._step_rows(weight, gradient, group)
            weight.grad = gradient
        return loss

    def _embeddings_without_decay(self) -> Iterator[tuple[nn.Parameter, dict[str, Any]]]:
        """Yield the embeddings that are stepped by rows, each with its group."""
        for group in self.param_groups:
            if group["weight_decay"] != 0:
                continue
            for weight in group["params"]:
                has_rows = weight.ndim == 2  # a shard of FSDP is flat
                if weight in self._embeddings and has_rows and weight.device.type == "cpu":
                    yield weight, group

    def _step_rows(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        """Compute w = w - lr m' / (sqrt(v') + eps) for the used rows of an embedding.

        The moments are m = b1 m + (1 - b1) g and v = b2 v + (1 - b2) g^2, without their bias
        m' = m / (1 - b1^t) and v' = v / (1 - b2^t).
        """
        state = self._state_with_rows(weight, _has_gradient(gradient))
        rows = state["rows"]  # (used,)
        used = _select_rows(gradient, rows)  # (used, width)
        beta1, beta2 = group["betas"]
        state["step"] += 1
        step = state["step"].item()
        mean = state["exp_avg"].lerp_(used, 1 - beta1)  # (used, width)
        square = state["exp_avg_sq"].mul_(beta2).addcmul_(used, used, value=1 - beta2)
        scale = (square / (1 - beta2**step)).sqrt_().add_(group["eps"])  # (used, width)
        step_size = float(group["lr"]) / (1 - beta1**step)
        weight.index_add_(0, rows, mean / scale, alpha=-step_size)

    def _state_with_rows(self, weight: Tensor, has_gradient: Tensor) -> dict[str, Tensor]:
        """Add moments of 0 to an embedding's state for rows with their first gradient.

        Args:
            weight: (rows, width)
            has_gradient: (rows,) bool; changed in place.
        """
        state: dict[str, Tensor] = self.state[weight]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["rows"] = torch.zeros(0, dtype=torch.long)
            state["exp_avg"] = state["exp_avg_sq"] = weight.new_zeros(0, weight.shape[1])
        # loading a state converts all of its tensors to floating point
        state["rows"] = state["rows"].long()
        has_gradient[state["rows"]] = False
        new_rows = has_gradient.nonzero().squeeze(1)  # (new,)
        if len(new_rows):
            zeros = weight.new_zeros(len(new_rows), weight.shape[1])  # (new, width)
            state["rows"] = torch.cat([state["rows"], new_rows])
            state["exp_avg"] = torch.cat([state["exp_avg"], zeros])
            state["exp_avg_sq"] = torch.cat([state["exp_avg_sq"], zeros])
        return state


def use_sparse_gradients(modules: Iterable[nn.Module], use: bool) -> None:
    """Make the gradients of embeddings sparse or dense.

    A sparse gradient holds the rows that a batch used. A dense one holds all 250,002 of XLM-R,
    nearly all of them 0, for a batch of a few hundred tokens.
    """
    for part in modules:
        if isinstance(part, nn.Embedding):
            part.sparse = use


def _has_gradient(gradient: Tensor) -> Tensor:
    """Tell for each row of a gradient whether it is not 0, (rows,) bool."""
    if not gradient.is_sparse:
        # the fastest of the exact ways
        return (gradient.amax(dim=1) != 0) | (gradient.amin(dim=1) != 0)
    has_gradient = torch.zeros(len(gradient), dtype=torch.bool)
    has_gradient[gradient._indices()[0]] = True  # also where the gradient is not coalesced
    return has_gradient


def _select_rows(gradient: Tensor, rows: Tensor) -> Tensor:
    """Select rows of a gradient, (len(rows), width).

    Args:
        gradient: (rows of the embedding, width), dense, or sparse and 0 outside ``rows``.
        rows: Indices of the rows.
    """
    if not gradient.is_sparse:
        return gradient[rows]
    position_of_row = torch.empty(len(gradient), dtype=torch.long)
    position_of_row[rows] = torch.arange(len(rows))
    selected = gradient.new_zeros(len(rows), gradient.shape[1], layout=torch.strided)
    return selected.index_add_(0, position_of_row[gradient._indices()[0]], gradient._values())
