"""Exact permutation test of whether a score needs the right pictures.

Null hypothesis: the pictures are exchangeable. The gold labels and the texts do not depend on which
picture belongs to which post, so that every assignment of the pictures was equally likely. A model
that ignores pictures satisfies it, and so does one whose answers change with the picture but are
no better with the right one.

Pictures are exchanged within blocks that are drawn at random. The permutations within blocks are a
group, which makes the test exact for any number of posts: with T the score and B random elements of
the group, p = (1 + #{T(permuted) >= T(right)}) / (1 + B). Derangements alone are no group, and a
test with several of them is not exact. A post is tried with each picture of its block once, and
any permutation is then scored by adding up counts, without the model.

Sources: Fisher, The Design of Experiments, 1935; Pitman, Significance Tests Which May be Applied to
Samples from any Populations, JRSS Supplement, 1937 (permutation tests). Phipson & Smyth,
Permutation P-values Should Never Be Zero, Statistical Applications in Genetics and Molecular
Biology, 2010 (the p-value of random permutations). Southworth, Kim & Owen, Properties of Balanced
Permutations, Journal of Computational Biology, 2009, and Hemerik & Goeman, Exact testing with
random permutations, TEST, 2018 (why the permutations must be a group).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from mmie.metrics.bootstrap import TIE, micro_f1


@dataclass(frozen=True, slots=True)
class ExchangeBlocks:
    """Random partition of pictures into blocks within which they are exchanged.

    At shift s, the picture at position i of a block of n receives the role of the one at position
    (i + s) mod n. Shift 0 is the right assignment, and each shift below n gives each position
    another picture.

    Attributes:
        blocks: Indices of the pictures in each block.
    """

    blocks: tuple[tuple[int, ...], ...]

    @classmethod
    def draw(cls, num_pictures: int, others: int, seed: int) -> Self:
        """Draw blocks of at least ``others`` + 1 pictures each, or one block of all pictures.

        Sizes differ by at most one.

        Args:
            num_pictures: Number of different pictures.
            others: Least number of other pictures that each is exchanged with.
            seed: Seed of the partition.
        """
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(num_pictures, generator=generator)
        num_blocks = max(1, num_pictures // (others + 1))
        return cls(tuple(tuple(block.tolist()) for block in order.tensor_split(num_blocks)))

    @property
    def num_pictures(self) -> int:
        """Number of pictures in all blocks."""
        return sum(map(len, self.blocks))

    @property
    def num_shifts(self) -> int:
        """Size of the largest block."""
        return max(map(len, self.blocks))

    @property
    def block_sizes(self) -> Tensor:
        """Size of the block of each picture, (pictures,)."""
        sizes = torch.zeros(self.num_pictures, dtype=torch.long)
        for block in self.blocks:
            sizes[list(block)] = len(block)
        return sizes

    def partners(self, shift: int) -> dict[int, int]:
        """Return the picture that replaces each one at a shift, where its block is large enough."""
        partners: dict[int, int] = {}
        for block in self.blocks:
            if shift < len(block):
                shifted = block[shift:] + block[:shift]
                partners.update(zip(block, shifted, strict=True))
        return partners


def exchange_p_values(
    counts: Tensor,
    fixed: Tensor,
    blocks: ExchangeBlocks,
    resamples: int = 9999,
    seed: int = 1234,
    max_draws: int = 2**20,
) -> Tensor:
    """Compute one-sided p-values of micro F1 with the right pictures against permuted ones.

    All permutations within blocks are listed if there are at most ``resamples``, and p is the share
    of those that score as high as the right pictures. Otherwise ``resamples`` are drawn.

    Args:
        counts: (pictures, shifts, parts, 3) true positives, predicted and gold of the posts of each
            picture at each shift of `ExchangeBlocks`, for each part of the answers.
        fixed: (parts, 3) the same of posts without a picture.
        blocks: The blocks.
        resamples: Number of permutations to draw.
        seed: Seed of the permutations.
        max_draws: Most draws kept in memory at once.

    Returns:
        (parts,) float64. All parts are tested with the same permutations.
    """
    pictures, shifts, parts, _ = counts.shape
    rows = counts.double().reshape(pictures * shifts, parts * 3)  # (cells, parts * 3)
    right = micro_f1(counts[:, 0].double().sum(0) + fixed)  # (parts,)
    extreme = torch.zeros(parts, dtype=torch.float64)
    total = 0
    for cells in _permuted_cells(blocks, shifts, resamples, seed, max_draws):
        summed = functional.embedding_bag(cells, rows, mode="sum")  # (rows, parts * 3)
        permuted = micro_f1(summed.view(-1, parts, 3) + fixed)  # (rows, parts)
        extreme += (permuted >= right - TIE).sum(0)
        total += len(cells)
    if _can_list(blocks, resamples):
        # the right assignment is one of those that were listed
        return extreme / total
    return (1 + extreme) / (1 + total)


def mean_of_others(counts: Tensor, blocks: ExchangeBlocks) -> Tensor:
    """Average values over the other pictures of each block.

    Args:
        counts: (pictures, shifts, ...) values at each shift, 0 at shifts beyond a picture's block.
        blocks: The blocks.

    Returns:
        (pictures, ...) float64.
    """
    others = (blocks.block_sizes - 1).double()  # (pictures,)
    summed = counts[:, 1:].double().sum(1)  # (pictures, ...)
    return summed / others.view(-1, *[1] * (summed.ndim - 1))


def needed_answers(found: Tensor) -> tuple[float, float]:
    """Compute the two sums that `share_needing` is estimated from, for one gold item.

    With r = 1 if the item is found with the right picture, and x_1 ... x_n likewise with n others,
    the gain is the mean of r - x_j, and its square is estimated without bias by the mean of
    (r - x_j)(r - x_k) over j != k.

    Args:
        found: (1 + n,) 0 or 1, first with the right picture; n is at least 2.

    Returns:
        Gain, and estimate of its square.
    """
    changes = (found[0] - found[1:]).double()  # (n,)
    count = len(changes)
    gain = changes.sum()
    pairs = gain.square() - changes.square().sum()
    return float(gain / count), float(pairs / (count * (count - 1)))


def share_needing(gain: Tensor, squared: Tensor, true_positives: Tensor) -> Tensor:
    """Estimate the share of true answers that need the right picture.

    Another picture can show the same by chance, so that an answer that needs a picture is not lost
    with each of them. If each of N answers is lost with probability l, the gains sum to N l and
    their squares to N l ^ 2, whence N = (sum of gains) ^ 2 / (sum of squares). If l differs between
    answers, or some are found with the right picture by chance, the estimate is too low, as Kish's
    effective sample size is at most the size.

    Args:
        gain: Sum of the gains of `needed_answers` over gold items, (...).
        squared: Sum of the estimates of their squares, (...).
        true_positives: Number of gold items found with the right pictures, (...).

    Returns:
        (...) share from 0 to 1; 0 where the right pictures gain nothing.

    Source: Kish, Survey Sampling, 1965 (effective sample size).
    """
    is_defined = (gain > 0) & (squared > 0) & (true_positives > 0)
    effective = gain.square() / torch.where(is_defined, squared * true_positives, 1.0)
    return torch.where(is_defined, effective.clamp(max=1.0), 0.0)


def _can_list(blocks: ExchangeBlocks, resamples: int) -> bool:
    """Tell whether there are at most ``resamples`` permutations within blocks."""
    number = 1
    for block in blocks.blocks:
        for factor in range(2, len(block) + 1):
            number *= factor
            if number > resamples:
                return False
    return True


def _permuted_cells(
    blocks: ExchangeBlocks, shifts: int, resamples: int, seed: int, max_draws: int
) -> Iterator[Tensor]:
    """Yield permutations as cells of (pictures, shifts), some rows (rows, pictures) at a time."""
    if _can_list(blocks, resamples):
        orders = [permutations(range(len(block))) for block in blocks.blocks]
        for order in product(*orders):
            cells = [
                _cells(torch.tensor([positions]), block, shifts)
                for positions, block in zip(order, blocks.blocks, strict=True)
            ]
            yield torch.cat(cells, dim=1)
        return
    generator = torch.Generator().manual_seed(seed)
    rows = max(1, max_draws // blocks.num_pictures)
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        drawn = []
        for block in blocks.blocks:
            keys = torch.rand(count, len(block), generator=generator, dtype=torch.float64)
            drawn.append(_cells(keys.argsort(dim=1), block, shifts))  # (rows, block)
        yield torch.cat(drawn, dim=1)


def _cells(positions: Tensor, block: Sequence[int], shifts: int) -> Tensor:
    """Convert the positions (rows, block) that replace those of a block to cells (rows, block)."""
    shift = (positions - torch.arange(len(block))) % len(block)  # (rows, block)
    return torch.tensor(block) * shifts + shift
