"""Linear-chain conditional random field over words that never leaves its tag scheme.

Source: Lafferty, McCallum & Pereira, Conditional Random Fields, ICML 2001. It is pytorch-crf's `CRF` with its two
recursions replaced by batched ones whose gradient is written down (it is the marginals). They give the same results
several times as fast.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional
from torchcrf import CRF

from mmie.tags import allowed_transition, continues
from mmie.types import TagScheme

FORBIDDEN = -1e6
"""Score of an impossible transition: finite, so that no NaN can arise, and far below any sum of emissions."""
_TINY = 1e-300
GAP = 300.0
"""Nats by which a word's emissions may differ; more is as good as certain."""


class ConstrainedCRF(CRF):  # type: ignore[misc]
    """score(y) = start(y_1) + sum_i emission_i(y_i) + sum_i transition(y_i-1, y_i) + end(y_n); p(y) ~ exp(score(y)).

    Starts, ends and transitions that the tag scheme rules out score `FORBIDDEN`, whatever is learned; their parameters
    are never read and get no gradient. Parameters and their initial values are pytorch-crf's, so its weights load.

    Args:
        tags: Names of all tags, ``O`` first.
        scheme: Tag scheme of the names.
    """

    forbidden_starts: Tensor
    forbidden_ends: Tensor
    forbidden_transitions: Tensor
    continuing: Tensor

    def __init__(self, tags: Sequence[str], scheme: TagScheme) -> None:
        super().__init__(len(tags), batch_first=True)
        starts = [not allowed_transition(None, tag, scheme) for tag in tags]
        ends = [not allowed_transition(tag, None, scheme) for tag in tags]
        between = [
            [not allowed_transition(previous, tag, scheme) for tag in tags] for previous in tags
        ]
        inside = [[continues(previous, tag) for tag in tags] for previous in tags]
        self.register_buffer("continuing", torch.tensor(inside), persistent=False)
        self.register_buffer("forbidden_starts", torch.tensor(starts), persistent=False)
        self.register_buffer("forbidden_ends", torch.tensor(ends), persistent=False)
        self.register_buffer("forbidden_transitions", torch.tensor(between), persistent=False)

    def scores(self) -> tuple[Tensor, Tensor, Tensor]:
        """Scores of starts (tags,), of transitions (tags, tags; from, to) and of ends (tags,), in float32."""
        starts = self.start_transitions.float().masked_fill(self.forbidden_starts, FORBIDDEN)
        transitions = self.transitions.float().masked_fill(self.forbidden_transitions, FORBIDDEN)
        ends = self.end_transitions.float().masked_fill(self.forbidden_ends, FORBIDDEN)
        return starts, transitions, ends

    def forward(self, emissions: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
        """Log p(tags) of every row, (batch,) float32; see `loss`."""
        return -self.loss(emissions, tags, mask)

    def loss(
        self, emissions: Tensor, tags: Tensor, mask: Tensor, temperature: float = 1.0
    ) -> Tensor:
        """-log p(tags), computed in float64, also under autocast.

        Args:
            emissions: (batch, words, tags)
            tags: (batch, words) gold tag ids; any valid id where masked.
            mask: (batch, words) bool, True on a row's first words, at least one.
            temperature: What all scores are divided by.

        Returns:
            (batch,) float32
        """
        device = "cpu" if emissions.device.type == "mps" else emissions.device  # MPS has no float64
        with torch.autocast(emissions.device.type, enabled=False):
            starts, transitions, ends = (
                scores.to(device, torch.float64) / temperature for scores in self.scores()
            )
            states, tags, mask = (
                emissions.to(device, torch.float64) / temperature,
                tags.to(device),
                mask.to(device),
            )
            gold = _path_score(states, tags, mask, starts, transitions, ends)
            total: Tensor = _LogPartition.apply(states, mask, starts, transitions, ends)
            return (total - gold).to(emissions.device, torch.float32)

    @torch.no_grad()
    def decode(self, emissions: Tensor, mask: Tensor) -> Tensor:
        """Best valid tags by Viterbi, for all rows at once and without leaving the device.

        Args:
            emissions: (batch, words, tags)
            mask: (batch, words) bool, True on a row's first words.

        Returns:
            (batch, words) tag ids, 0 (``O``) where masked.
        """
        return _best_path(emissions.float(), mask, *self.scores()) * mask

    @torch.no_grad()
    def span_probabilities(
        self, emissions: Tensor, mask: Tensor, tags: Tensor, temperature: Tensor | float = 1.0
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What the probability of an entity is made of, given the words: p(tags) is a Markov chain.

        An entity of words s to e with tags y has log probability

            log p(y_s) + sum_i=s+1..e log p(y_i | y_i-1) + log(1 - sum_y' p(y' | y_e)),  y' continues the entity

        Args:
            emissions: (batch, words, tags)
            mask: (batch, words) bool, True on a row's first words, at least one.
            tags: (batch, words) tag ids of a valid path.
            temperature: What all scores are divided by.

        Returns:
            The terms in this order, each where its word is, (batch, words) float64; 0 where masked.
        """
        device = "cpu" if emissions.device.type == "mps" else emissions.device
        starts, transitions, ends = (
            (scores.to(device, torch.float64) / temperature).exp() for scores in self.scores()
        )
        scores, tags, mask = (
            emissions.to(device, torch.float64) / temperature,
            tags.to(device).T,
            mask.to(device),
        )
        keeps = mask.T.unsqueeze(2)  # (words, batch, 1)
        seen = (scores - scores.amax(dim=2, keepdim=True)).clamp(min=-GAP).exp().transpose(0, 1)
        filtered, norms = _filter(seen, keeps, starts, transitions)  # (words, batch, tags)
        last = ends / (filtered[-1] * ends).sum(dim=1, keepdim=True)
        futures = _smooth(seen / norms, keeps, transitions, last)
        arriving = (seen / norms * futures)[1:]  # (words - 1, batch, to)
        leaving = (
            transitions[tags[:-1]] * arriving / futures[:-1].gather(2, tags[:-1].unsqueeze(2))
        )  # p(to | y)
        going_on = (leaving * self.continuing.to(device)[tags[:-1]]).sum(dim=2) * keeps[1:, :, 0]
        enter = (filtered * futures).gather(2, tags.unsqueeze(2)).squeeze(2)
        step = leaving.gather(2, tags[1:].unsqueeze(2)).squeeze(2)
        enter, step, leave = (part.clamp(_TINY, 1).log() for part in (enter, step, 1 - going_on))
        step, leave = functional.pad(step, (0, 0, 1, 0)), functional.pad(leave, (0, 0, 0, 1))
        return tuple((part * keeps[:, :, 0]).T for part in (enter, step, leave))  # type: ignore[return-value]


@torch.inference_mode()  # spares what autograd keeps for views: an eighth of the time
def _best_path(
    emissions: Tensor, mask: Tensor, starts: Tensor, transitions: Tensor, ends: Tensor
) -> Tensor:
    """argmax_y score(y), (batch, words); after a row's last word its last tag again.

    The recursion keeps only scores; which tag each came from is found for all words at once.
    """
    emissions = emissions.transpose(0, 1).contiguous()  # (words, batch, tags)
    moves = transitions.T.contiguous()  # (to, from)
    scores = [starts + emissions[0]]
    for emission in emissions[1:].unbind():
        scores.append((scores[-1].unsqueeze(1) + moves).amax(dim=2).add_(emission))  # (batch, tags)
    reached = torch.stack(scores)  # (words, batch, tags)
    origins = (reached[:-1].unsqueeze(2) + moves).argmax(dim=3)  # (words - 1, batch, to)
    tags = torch.arange(len(moves), device=moves.device)
    origins = torch.where(mask.T[1:].unsqueeze(2), origins, tags)  # a masked word hands its tag on
    rows = torch.arange(len(mask), device=mask.device)
    path = [(reached[mask.sum(dim=1) - 1, rows] + ends).argmax(dim=1, keepdim=True)]  # (batch, 1)
    for origin in reversed(origins.unbind()):
        path.append(origin.gather(1, path[-1]))
    return torch.cat(path[::-1], dim=1)


def _path_score(
    emissions: Tensor, tags: Tensor, mask: Tensor, starts: Tensor, transitions: Tensor, ends: Tensor
) -> Tensor:
    """score(y) of given tags, (batch,)."""
    emitted = (
        emissions.gather(2, tags.unsqueeze(2)).squeeze(2).masked_fill(~mask, 0)
    )  # (batch, words)
    moved = transitions[tags[:, :-1], tags[:, 1:]].masked_fill(
        ~mask[:, 1:], 0
    )  # (batch, words - 1)
    last = tags.gather(1, mask.sum(dim=1, keepdim=True) - 1).squeeze(1)  # (batch,)
    return starts[tags[:, 0]] + emitted.sum(dim=1) + moved.sum(dim=1) + ends[last]


class _LogPartition(torch.autograd.Function):
    """log sum_y exp(score(y)); its gradient by a score is the expected number of uses of that score.

    Forward-backward with probabilities that are scaled to sum to one at every word (Rabiner, Proceedings of the IEEE
    1989, Section V.A): a step is one small matrix product. Emissions more than `GAP` below their word's best are
    lifted to that gap, which bounds every factor, so that nothing under- or overflows in float64.
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
        """Log partition (batch,) of emissions (batch, words, tags)."""
        keeps = mask.T.unsqueeze(2)  # (words, batch, 1)
        best = emissions.amax(dim=2)  # (batch, words)
        seen = (
            (emissions - best.unsqueeze(2)).clamp(min=-GAP).exp().transpose(0, 1)
        )  # (words, batch, tags)
        moves = transitions.exp()
        filtered, norms = _filter(seen, keeps, starts.exp(), moves)
        tail = (filtered[-1] * ends.exp()).sum(dim=1, keepdim=True)  # (batch, 1)
        ctx.save_for_backward(seen / norms, keeps, moves, ends.exp() / tail, filtered)
        heights = best.masked_fill(~mask, 0).sum(dim=1)
        return heights + norms.log().squeeze(2).sum(dim=0) + tail.log().squeeze(1)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Marginals of tags and of pairs of tags, weighted by the gradient (batch,) that comes in."""
        seen, keeps, moves, last, filtered = ctx.saved_tensors  # type: ignore[attr-defined]
        futures = _smooth(seen, keeps, moves, last)  # (words, batch, tags)
        marginals = filtered * futures * upstream.unsqueeze(1)
        before = (filtered[:-1] * upstream.unsqueeze(1) * keeps[1:]).flatten(
            0, 1
        )  # ((words - 1) * batch, from)
        after = (seen * futures)[1:].flatten(0, 1)  # ((words - 1) * batch, to)
        by_emission = (marginals * keeps).transpose(0, 1)
        return (
            by_emission,
            None,
            marginals[0].sum(dim=0),
            before.T @ after * moves,
            marginals[-1].sum(dim=0),
        )


def _filter(seen: Tensor, keeps: Tensor, starts: Tensor, moves: Tensor) -> tuple[Tensor, Tensor]:
    """p(tag | words so far) (words, batch, tags), and the sums (words, batch, 1) that scale it to one.

    Where masked, they are those of the row's last word, and 1.
    """
    step = starts * seen[0]
    norms = [step.sum(dim=1, keepdim=True)]
    filtered = [step / norms[0]]
    for emission in seen[1:].unbind():
        step = (filtered[-1] @ moves) * emission
        norms.append(step.sum(dim=1, keepdim=True))
        filtered.append(step / norms[-1])
    chances = torch.stack(filtered)  # (words, batch, tags)
    last = chances[
        keeps.sum(dim=0).squeeze(1) - 1, torch.arange(keeps.shape[1], device=keeps.device)
    ]
    return torch.where(keeps, chances, last), torch.stack(norms).masked_fill(~keeps, 1)


def _smooth(seen: Tensor, keeps: Tensor, moves: Tensor, last: Tensor) -> Tensor:
    """p(tag | all words) / p(tag | words so far), (words, batch, tags), from emissions divided by `_filter`'s sums."""
    futures = [last]
    for emission, keep in zip(seen[1:].flip(0).unbind(), keeps[1:].flip(0).unbind(), strict=True):
        futures.append(torch.where(keep, (futures[-1] * emission) @ moves.T, futures[-1]))
    return torch.stack(futures[::-1])
