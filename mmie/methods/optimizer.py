"""AdamW that keeps no moments for words that no post holds."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn


class EmbeddingAdamW(torch.optim.AdamW):
    """AdamW, equal to torch's, with moments for the used rows of embeddings only.

    A row whose gradient was 0 in every step so far has moments of 0, and without weight decay it does not move: such
    rows need no moments. Of XLM-R's 250,002 a corpus of tweets uses some thousands; of the three numbers that training
    holds for each of the others' weights, beside the weight, two are spared.

    InstanceDiagnosis the used rows makes the processor wait for the gradient, so embeddings on other devices are torch's own.

    Args:
        groups: Parameter groups.
        modules: Parts of the model; the weights of embeddings among them, (rows, width), are treated so, unless they
            have weight decay. Their gradients may be sparse: see `use_sparse_gradients`.

    Source: Loshchilov & Hutter, Decoupled Weight Decay Regularization, ICLR 2019, Algorithm 2.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], modules: Iterable[nn.Module]) -> None:
        super().__init__(groups, fused=True)
        self._embeddings = {part.weight for part in modules if isinstance(part, nn.Embedding)}

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:  # type: ignore[override]
        """One step; the closure, if there is one, computes loss and gradients first."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        spared = [
            (weight, group, weight.grad)
            for weight, group in self._spared()
            if weight.grad is not None
        ]
        for weight, _, _ in spared:
            weight.grad = None  # torch's step passes over it
        super().step()
        for weight, group, gradient in spared:
            self._step_rows(weight, gradient, group)
            weight.grad = gradient
        return loss

    def _spared(self) -> Iterable[tuple[nn.Parameter, dict[str, Any]]]:
        """The embeddings that are treated by rows, with their groups."""
        for group in self.param_groups:
            if group["weight_decay"] == 0:
                yield from (
                    (w, group)
                    for w in group["params"]
                    if w in self._embeddings and w.device.type == "cpu"
                )

    def _step_rows(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        """w = w - lr m' / (sqrt(v') + eps) for used rows, where m' and v' are m and v without their bias:

        m = b1 m + (1 - b1) g, m' = m / (1 - b1^t); v = b2 v + (1 - b2) g^2, v' = v / (1 - b2^t).
        """  # noqa: D403, D415  (an equation)
        state = self._grown_state(weight, _rows_with_gradient(gradient))
        rows = state["rows"]  # (used,)
        used = _select_rows(gradient, rows)  # (used, width)
        rate, slow = group["betas"]
        state["step"] += 1
        first = state["exp_avg"].lerp_(used, 1 - rate)
        second = state["exp_avg_sq"].mul_(slow).addcmul_(used, used, value=1 - slow)
        step = state["step"].item()
        scale = (second / (1 - slow**step)).sqrt_().add_(group["eps"])
        weight.index_add_(0, rows, first / scale, alpha=-float(group["lr"]) / (1 - rate**step))

    def _grown_state(self, weight: Tensor, has_gradient: Tensor) -> dict[str, Tensor]:
        """The state of an embedding, with moments of 0 for rows that have a gradient for the first time."""
        state: dict[str, Tensor] = self.state[weight]
        if not state:
            state["step"] = torch.tensor(0.0)
            state["rows"] = torch.zeros(0, dtype=torch.long)
            state["exp_avg"] = state["exp_avg_sq"] = weight.new_zeros(0, weight.shape[1])
        state["rows"] = state["rows"].long()  # loading a state makes floats of all its tensors
        has_gradient[state["rows"]] = False
        fresh = has_gradient.nonzero().squeeze(1)
        if len(fresh):
            blank = weight.new_zeros(len(fresh), weight.shape[1])
            state["rows"] = torch.cat([state["rows"], fresh])
            state["exp_avg"] = torch.cat([state["exp_avg"], blank])
            state["exp_avg_sq"] = torch.cat([state["exp_avg_sq"], blank])
        return state


def use_sparse_gradients(modules: Iterable[nn.Module], use: bool) -> None:
    """Have gradients of embeddings hold the rows that a batch used and no others, or all rows.

    Otherwise a batch of a few hundred tokens writes a gradient for each of XLM-R's 250,002 rows, nearly all of it 0.
    """
    for part in modules:
        if isinstance(part, nn.Embedding):
            part.sparse = use


def _rows_with_gradient(gradient: Tensor) -> Tensor:
    """Whether each row has a gradient, (rows,) bool."""
    if not gradient.is_sparse:
        return (gradient.amax(dim=1) != 0) | (
            gradient.amin(dim=1) != 0
        )  # the fastest of the exact ways
    has_gradient = torch.zeros(len(gradient), dtype=torch.bool)
    has_gradient[gradient._indices()[0]] = True  # of an uncoalesced gradient, too
    return has_gradient


def _select_rows(gradient: Tensor, rows: Tensor) -> Tensor:
    """Some rows of a gradient, (len(rows), width); a sparse one has no others but these."""
    if not gradient.is_sparse:
        return gradient[rows]
    places = torch.empty(len(gradient), dtype=torch.long)
    places[rows] = torch.arange(len(rows))
    selected = gradient.new_zeros(len(rows), gradient.shape[1], layout=torch.strided)
    return selected.index_add_(0, places[gradient._indices()[0]], gradient._values())
