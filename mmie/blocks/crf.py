"""Linear-chain conditional random field over words that decodes only valid tag sequences.

Source: Lafferty, McCallum & Pereira, Conditional Random Fields, ICML 2001. The class is
pytorch-crf's `CRF` with its two recursions replaced by the batched ones of
`mmie.blocks.forward_backward`, which give the same results several times as fast.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional
from torchcrf import CRF

from mmie.blocks.forward_backward import (
    LogPartition,
    backward_variables,
    best_path,
    forward_variables,
    path_scores,
    select_tags,
    split_emissions,
)
from mmie.tags import allowed_transition, continues
from mmie.types import TagScheme

FORBIDDEN = -1e6
"""Score of an impossible transition: finite to avoid NaN, and far below any sum of emissions."""
_TINY = 1e-300
"""Smallest probability whose logarithm is taken."""


class ConstrainedCRF(CRF):  # type: ignore[misc]
    """Linear-chain CRF whose forbidden transitions have a fixed score.

        score(y) = start(y_1) + sum_i emission_i(y_i) + sum_i transition(y_i-1, y_i) + end(y_n)
        p(y) ~ exp(score(y))

    Starts, ends and transitions that the tag scheme rules out score `FORBIDDEN`, whatever is
    learned. Their parameters are never read and get no gradient. Parameters and their initial
    values are pytorch-crf's, so that its weights load.

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
        transitions = []
        continuing = []
        for previous in tags:
            transitions.append([not allowed_transition(previous, tag, scheme) for tag in tags])
            continuing.append([continues(previous, tag) for tag in tags])
        self._register_mask("continuing", continuing)  # (from, to)
        self._register_mask("forbidden_starts", starts)  # (tags,)
        self._register_mask("forbidden_ends", ends)  # (tags,)
        self._register_mask("forbidden_transitions", transitions)  # (from, to)

    def _register_mask(self, name: str, values: Sequence[bool] | Sequence[Sequence[bool]]) -> None:
        """Register a bool buffer that is not part of the state dict."""
        self.register_buffer(name, torch.tensor(values), persistent=False)

    def scores(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return scores of starts (tags,), transitions (from, to) and ends (tags,) in float32."""
        starts = self.start_transitions.float().masked_fill(self.forbidden_starts, FORBIDDEN)
        transitions = self.transitions.float().masked_fill(self.forbidden_transitions, FORBIDDEN)
        ends = self.end_transitions.float().masked_fill(self.forbidden_ends, FORBIDDEN)
        return starts, transitions, ends

    def _tempered_scores(
        self, device: torch.device, temperature: Tensor | float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return `scores` divided by a temperature, in float64 on a device."""
        starts, transitions, ends = self.scores()
        return (
            starts.to(device, torch.float64) / temperature,
            transitions.to(device, torch.float64) / temperature,
            ends.to(device, torch.float64) / temperature,
        )

    def forward(self, emissions: Tensor, tags: Tensor, mask: Tensor) -> Tensor:
        """Compute log p(tags) of every row, (batch,) float32, for the arguments of `loss`."""
        return -self.loss(emissions, tags, mask)

    def loss(
        self, emissions: Tensor, tags: Tensor, mask: Tensor, temperature: float = 1.0
    ) -> Tensor:
        """Compute -log p(tags) in float64, also under autocast.

        Args:
            emissions: (batch, words, tags)
            tags: (batch, words) gold tag ids; any valid id where masked.
            mask: (batch, words) bool, True on a row's first words, at least one.
            temperature: Divisor of all scores.

        Returns:
            (batch,) float32
        """
        device = _float64_device(emissions)
        with torch.autocast(emissions.device.type, enabled=False):
            scores = self._tempered_scores(device, temperature)
            tempered = emissions.to(device, torch.float64) / temperature  # (batch, words, tags)
            tags = tags.to(device)
            mask = mask.to(device)
            gold = path_scores(tempered, tags, mask, *scores)  # (batch,)
            total: Tensor = LogPartition.apply(tempered, mask, *scores)  # (batch,)
            return (total - gold).to(emissions.device, torch.float32)

    @torch.no_grad()
    def decode(self, emissions: Tensor, mask: Tensor) -> Tensor:
        """Find the best valid tags by Viterbi's algorithm, for all rows at once on the device.

        Args:
            emissions: (batch, words, tags)
            mask: (batch, words) bool, True on a row's first words.

        Returns:
            (batch, words) tag ids, 0 (``O``) where masked.
        """
        return best_path(emissions.float(), mask, *self.scores()) * mask

    @torch.no_grad()
    def marginals(
        self, emissions: Tensor, mask: Tensor, temperature: Tensor | float = 1.0
    ) -> Tensor:
        """Compute the marginal probability p(y_i) of every tag of every word.

        Args:
            emissions: (batch, words, tags)
            mask: (batch, words) bool, True on a row's first words, at least one.
            temperature: Divisor of all scores.

        Returns:
            (batch, words, tags) float64, 0 where masked.
        """
        alphas, betas, _, _ = self._posterior(emissions, mask, temperature)
        probabilities = (alphas * betas).transpose(0, 1)  # (batch, words, tags)
        return probabilities * mask.to(alphas.device).unsqueeze(2)

    def _posterior(
        self, emissions: Tensor, mask: Tensor, temperature: Tensor | float
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Run the forward-backward recursion in float64.

        Returns:
            Alphas, betas and scaled potentials, (words, batch, tags) each, and moves (from, to).
        """
        device = _float64_device(emissions)
        valid = mask.to(device).T.unsqueeze(2)  # (words, batch, 1)
        starts, transitions, ends = self._tempered_scores(device, temperature)
        moves = transitions.exp()  # (from, to)
        _, potentials = split_emissions(emissions.to(device, torch.float64) / temperature)
        alphas, norms = forward_variables(potentials, valid, starts.exp(), moves)
        scaled = potentials / norms  # (words, batch, tags)
        last = ends.exp() / (alphas[-1] * ends.exp()).sum(dim=1, keepdim=True)  # (batch, tags)
        betas = backward_variables(scaled, valid, moves, last)  # (words, batch, tags)
        return alphas, betas, scaled, moves

    @torch.no_grad()
    def span_probabilities(
        self, emissions: Tensor, mask: Tensor, tags: Tensor, temperature: Tensor | float = 1.0
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the log terms whose sum is the marginal log probability of an entity.

        Given the words, the tags are a Markov chain. An entity of words s to e with tags y has

            log p(y_s) + sum_i=s+1..e log p(y_i | y_i-1) + log(1 - sum_y' p(y' | y_e)),

        where y' are the tags of word e + 1 that continue the entity. With the variables of
        `mmie.blocks.forward_backward`,

            p(y_i) = alpha_i(y_i) beta_i(y_i)
            p(y_i | y_i-1) = move(y_i-1, y_i) scaled_i(y_i) beta_i(y_i) / beta_i-1(y_i-1)
            scaled_i(y) = potential_i(y) / norm_i

        Args:
            emissions: (batch, words, tags)
            mask: (batch, words) bool, True on a row's first words, at least one.
            tags: (batch, words) tag ids of a valid path.
            temperature: Divisor of all scores.

        Returns:
            The three terms in this order, each at the index of its word, (batch, words) float64;
            0 where masked.
        """
        alphas, betas, scaled, moves = self._posterior(emissions, mask, temperature)
        tags = tags.to(alphas.device).T  # (words, batch)
        valid = mask.to(alphas.device).T  # (words, batch)
        previous_betas = select_tags(betas[:-1], tags[:-1]).unsqueeze(2)  # (words - 1, batch, 1)
        # p(y_i | y_i-1) of all y_i, where y_i-1 is the path's tag, (words - 1, batch, tags)
        following = moves[tags[:-1]] * (scaled * betas)[1:] / previous_betas
        continues_path = self.continuing.to(alphas.device)[tags[:-1]]  # (words - 1, batch, tags)
        continuing = (following * continues_path).sum(dim=2) * valid[1:]  # (words - 1, batch)

        enter = _safe_log(select_tags(alphas * betas, tags))  # (words, batch)
        step = _safe_log(select_tags(following, tags[1:]))  # (words - 1, batch)
        leave = _safe_log(1 - continuing)  # (words - 1, batch)
        step = functional.pad(step, (0, 0, 1, 0))  # (words, batch)
        leave = functional.pad(leave, (0, 0, 0, 1))  # (words, batch)
        return (enter * valid).T, (step * valid).T, (leave * valid).T


def _float64_device(emissions: Tensor) -> torch.device:
    """Return the device to compute with in float64: that of the emissions, or the CPU for MPS."""
    return torch.device("cpu") if emissions.device.type == "mps" else emissions.device


def _safe_log(probabilities: Tensor) -> Tensor:
    """Compute logarithms of probabilities that rounding may have moved out of 0 to 1."""
    return probabilities.clamp(_TINY, 1).log()
