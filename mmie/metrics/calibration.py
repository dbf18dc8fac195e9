"""Temperature scaling: probabilities that are right as often as they say.

Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, Section 4.2.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

_BINS = 10
TEMPERATURES = tuple(2 ** (step / 2) for step in range(-1, 6))
"""Where the loss is looked at: from 0.7 to 5.7, each 1.4 times the one before."""


class BestTemperature(Metric):
    """The number T by which scores are to be divided for the likeliest gold answers; 1 if none was seen."""

    is_differentiable = False
    higher_is_better = None
    full_state_update = False
    totals: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state(
            "totals", torch.zeros(len(TEMPERATURES), dtype=torch.float64), dist_reduce_fx="sum"
        )
        self.set_dtype(torch.float64)

    @property
    def update_called(self) -> bool:
        """Always True: a rank that got no post is nothing to warn of."""
        return True

    def update(self, losses: Tensor) -> None:
        """Add the losses of some posts, (temperatures, posts)."""
        self.totals += losses.double().sum(dim=1)

    def compute(self) -> Tensor:
        """The best temperature, float64."""
        return torch.tensor(
            lowest(self.totals.tolist()), dtype=torch.float64, device=self.totals.device
        )


class CalibrationError(Metric):
    """Expected calibration error: how far probabilities are from the share of right answers, on average.

        sum_b |p_b - r_b|,  p_b: sum of the probabilities in bin b / answers,  r_b: right ones among them / answers

    with ten bins of equal width. Source: Naeini et al., Obtaining Well Calibrated Probabilities Using Bayesian Binning,
    AAAI 2015.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False
    sums: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("sums", torch.zeros(_BINS, 3, dtype=torch.float64), dist_reduce_fx="sum")
        self.set_dtype(torch.float64)

    @property
    def update_called(self) -> bool:
        """Always True: a rank that got no post is nothing to warn of."""
        return True

    def update(self, probabilities: Tensor, right: Tensor) -> None:
        """Add answers: their probabilities (answers,), and 1 where they are right, else 0, (answers,)."""
        columns = torch.stack(
            [probabilities, right, torch.ones_like(right)], dim=1
        ).double()  # (answers, 3)
        bins = (probabilities * _BINS).long().clamp(0, _BINS - 1)
        self.sums.index_add_(0, bins, columns)

    def compute(self) -> Tensor:
        """The error, from 0 to 1; 0 without answers."""
        gaps = (self.sums[:, 0] - self.sums[:, 1]).abs().sum()
        return (gaps / self.sums[:, 2].sum().clamp(min=1)).float()


def lowest(totals: Sequence[float]) -> float:
    """The temperature at the lowest point of a parabola through the lowest total and those beside it.

    >>> round(lowest([(step / 2 - math.log2(1.9)) ** 2 for step in range(-1, 6)]), 3)
    1.9
    >>> lowest([0.0] * 7)
    1.0
    """
    place = min(
        range(len(totals)), key=lambda number: (totals[number], abs(math.log(TEMPERATURES[number])))
    )
    if not 0 < place < len(totals) - 1:
        return TEMPERATURES[place]
    before, here, after = totals[place - 1 : place + 2]
    bend = before - 2 * here + after
    shift = 0.5 * (before - after) / bend if bend > 0 else 0.0  # in steps of the grid
    return TEMPERATURES[place] * 2 ** (shift / 2)
