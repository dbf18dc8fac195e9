"""Recursions of a linear-chain CRF, batched over rows: best path, log partition and marginals.

The forward-backward recursion works on probabilities that are scaled to sum to one at every word
(Rabiner, Proceedings of the IEEE 1989, Section V.A), so that a step is one small matrix product.
Its tensors have the words first, (words, batch, ...), and these names:

===========  ====================  ==============================================================
name         shape                 meaning
===========  ====================  ==============================================================
valid        (words, batch, 1)     bool, True on a row's first words, at least one
potentials   (words, batch, tags)  exp(emission - best emission of the word)
moves        (from, to)            exp(transition score)
norms        (words, batch, 1)     sums that scale the alphas to one, 1 where masked
alphas       (words, batch, tags)  p(tag | words so far), of a row's last word where masked
betas        (words, batch, tags)  p(tag | all words) / p(tag | words so far)
===========  ====================  ==============================================================
"""

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

GAP = 300.0
"""Largest difference in nats between a word's best emission and any other that is computed with.

A lower emission is lifted to that gap, where its tag is already as good as impossible. This bounds
every factor, so that nothing under- or overflows in float64.
"""


def select_tags(values: Tensor, tags: Tensor) -> Tensor:
    """Select the values (..., tags) of given tag ids (...), a tensor of the shape of the ids."""
    return values.gather(-1, tags.unsqueeze(-1)).squeeze(-1)


def path_scores(
    emissions: Tensor, tags: Tensor, mask: Tensor, starts: Tensor, transitions: Tensor, ends: Tensor
) -> Tensor:
    """Compute score(y) = start(y_1) + sum emission_i(y_i) + sum transition(y_i-1, y_i) + end(y_n).

    Args:
        emissions: (batch, words, tags)
        tags: (batch, words) ids of the tags y.
        mask: (batch, words) bool, True on a row's first words, at least one.
        starts: (tags,)
        transitions: (from, to)
        ends: (tags,)

    Returns:
        (batch,)
    """
    emitted = select_tags(emissions, tags).masked_fill(~mask, 0)  # (batch, words)
    moved = transitions[tags[:, :-1], tags[:, 1:]]  # (batch, words - 1)
    moved = moved.masked_fill(~mask[:, 1:], 0)
    last = tags.gather(1, mask.sum(dim=1, keepdim=True) - 1).squeeze(1)  # (batch,)
    return starts[tags[:, 0]] + emitted.sum(dim=1) + moved.sum(dim=1) + ends[last]


@torch.inference_mode()  # spares what autograd keeps for views: an eighth of the time
def best_path(
    emissions: Tensor, mask: Tensor, starts: Tensor, transitions: Tensor, ends: Tensor
) -> Tensor:
    """Find argmax_y score(y) by Viterbi's algorithm.

    The recursion keeps scores only. The tag that each score came from is found for all words at
    once afterwards.

    Args:
        emissions: (batch, words, tags)
        mask: (batch, words) bool, True on a row's first words.
        starts: (tags,)
        transitions: (from, to)
        ends: (tags,)

    Returns:
        (batch, words) tag ids; after a row's last word, that word's tag again.
    """
    emissions = emissions.transpose(0, 1).contiguous()  # (words, batch, tags)
    moves = transitions.T.contiguous()  # (to, from)
    scores = [starts + emissions[0]]
    for emission in emissions[1:].unbind():
        scores.append((scores[-1].unsqueeze(1) + moves).amax(dim=2).add_(emission))  # (batch, tags)
    reached = torch.stack(scores)  # (words, batch, tags)

    origins = (reached[:-1].unsqueeze(2) + moves).argmax(dim=3)  # (words - 1, batch, to)
    same_tag = torch.arange(len(moves), device=moves.device)  # (tags,)
    origins = torch.where(mask.T[1:].unsqueeze(2), origins, same_tag)

    rows = torch.arange(len(mask), device=mask.device)  # (batch,)
    final = reached[mask.sum(dim=1) - 1, rows] + ends  # (batch, tags)
    path = [final.argmax(dim=1, keepdim=True)]  # (batch, 1)
    for origin in reversed(origins.unbind()):
        path.append(origin.gather(1, path[-1]))
    return torch.cat(path[::-1], dim=1)  # (batch, words)


class LogPartition(torch.autograd.Function):
    """Log partition log sum_y exp(score(y)) with its gradient written down.

    The gradient with respect to a score is the expected number of uses of that score.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        emissions: Tensor,
        mask: Tensor,
        starts: Tensor,
        transitions: Tensor,
        ends: Tensor,
    ) -> Tensor:
        """Compute the log partition, (batch,).

        Args:
            ctx: Context that keeps tensors for the gradient.
            emissions: (batch, words, tags) float64
            mask: (batch, words) bool, True on a row's first words, at least one.
            starts: (tags,)
            transitions: (from, to)
            ends: (tags,)
        """
        valid = mask.T.unsqueeze(2)  # (words, batch, 1)
        best, potentials = split_emissions(emissions)
        moves = transitions.exp()  # (from, to)
        alphas, norms = forward_variables(potentials, valid, starts.exp(), moves)
        total = (alphas[-1] * ends.exp()).sum(dim=1, keepdim=True)  # (batch, 1)
        ctx.save_for_backward(potentials / norms, valid, moves, ends.exp() / total, alphas)
        offset = best.masked_fill(~mask, 0).sum(dim=1)  # (batch,)
        return offset + norms.log().squeeze(2).sum(dim=0) + total.log().squeeze(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Compute marginals of tags and of pairs of tags, weighted by the gradient (batch,)."""
        scaled, valid, moves, last, alphas = ctx.saved_tensors  # type: ignore[attr-defined]
        betas = backward_variables(scaled, valid, moves, last)  # (words, batch, tags)
        marginals = alphas * betas * upstream.unsqueeze(1)  # (words, batch, tags)
        before = alphas[:-1] * upstream.unsqueeze(1) * valid[1:]  # (words - 1, batch, from)
        after = (scaled * betas)[1:]  # (words - 1, batch, to)
        return (
            (marginals * valid).transpose(0, 1),
            None,
            marginals[0].sum(dim=0),
            before.flatten(0, 1).T @ after.flatten(0, 1) * moves,
            marginals[-1].sum(dim=0),
        )


def split_emissions(emissions: Tensor) -> tuple[Tensor, Tensor]:
    """Split emissions (batch, words, tags) into the best of each word and the potentials.

    Returns:
        (batch, words), and (words, batch, tags).
    """
    best = emissions.amax(dim=2)  # (batch, words)
    potentials = (emissions - best.unsqueeze(2)).clamp(min=-GAP).exp()  # (batch, words, tags)
    return best, potentials.transpose(0, 1)


def forward_variables(
    potentials: Tensor, valid: Tensor, starts: Tensor, moves: Tensor
) -> tuple[Tensor, Tensor]:
    """Compute the alphas and the norms, where ``starts`` (tags,) are exp(start score)."""
    step = starts * potentials[0]  # (batch, tags)
    norms = [step.sum(dim=1, keepdim=True)]
    alphas = [step / norms[0]]
    for potential in potentials[1:].unbind():
        step = (alphas[-1] @ moves) * potential  # (batch, tags)
        norms.append(step.sum(dim=1, keepdim=True))
        alphas.append(step / norms[-1])
    stacked = torch.stack(alphas)  # (words, batch, tags)
    rows = torch.arange(valid.shape[1], device=valid.device)  # (batch,)
    last = stacked[valid.sum(dim=0).squeeze(1) - 1, rows]  # (batch, tags)
    return torch.where(valid, stacked, last), torch.stack(norms).masked_fill(~valid, 1)


def backward_variables(scaled: Tensor, valid: Tensor, moves: Tensor, last: Tensor) -> Tensor:
    """Compute the betas.

    Args:
        scaled: (words, batch, tags) potentials divided by the norms.
        valid: (words, batch, 1)
        moves: (from, to)
        last: (batch, tags) betas of the last word.

    Returns:
        (words, batch, tags)
    """
    betas = [last]
    following_words = zip(scaled[1:].flip(0).unbind(), valid[1:].flip(0).unbind(), strict=True)
    for potential, is_valid in following_words:
        betas.append(torch.where(is_valid, (betas[-1] * potential) @ moves.T, betas[-1]))
    return torch.stack(betas[::-1])
