"""Temperature scaling and the calibration error of probabilities.

Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017, Section 4.2.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

_NUM_BINS = 10
TEMPERATURES = tuple(2 ** (step / 2) for step in range(-1, 6))
"""Temperatures at which the loss is computed: from 0.7 to 5.7, each 1.4 times the one before."""


class BestTemperature(Metric):
    """Divisor of the scores that maximises the likelihood of the gold answers, 1 without posts."""

    is_differentiable = False
    higher_is_better = None
    full_state_update = False
    totals: Tensor

    def __init__(self) -> None:
        super().__init__()
        totals = torch.zeros(len(TEMPERATURES), dtype=torch.float64)
        self.add_state("totals", totals, dist_reduce_fx="sum")
        self.set_dtype(torch.float64)

    @property
    def update_called(self) -> bool:
        """Always True, because a rank without posts is no reason for a warning."""
        return True

    def update(self, losses: Tensor) -> None:
        """Add the losses (temperatures, posts) of some posts."""
        self.totals += losses.double().sum(dim=1)

    def compute(self) -> Tensor:
        """Return the best temperature, () float64."""
        temperature = interpolate_minimum(self.totals.tolist())
        return torch.tensor(temperature, dtype=torch.float64, device=self.totals.device)


class CalibrationError(Metric):
    """Expected calibration error, the mean gap between probability and accuracy.

        sum_b |p_b - r_b|

    over ten bins b of equal width, where p_b is the sum of the probabilities in bin b and r_b the
    number of right answers among them, both divided by the number of all answers.

    Source: Naeini et al., Obtaining Well Calibrated Probabilities Using Bayesian Binning, AAAI
    2015.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False
    sums: Tensor

    def __init__(self) -> None:
        super().__init__()
        sums = torch.zeros(_NUM_BINS, 3, dtype=torch.float64)
        self.add_state("sums", sums, dist_reduce_fx="sum")
        self.set_dtype(torch.float64)

    @property
    def update_called(self) -> bool:
        """Always True, because a rank without posts is no reason for a warning."""
        return True

    def update(self, probabilities: Tensor, right: Tensor) -> None:
        """Add answers.

        Args:
            probabilities: (answers,)
            right: (answers,) 1 for a right answer, else 0.
        """
        columns = [probabilities, right, torch.ones_like(right)]
        rows = torch.stack(columns, dim=1).double()  # (answers, 3)
        bins = (probabilities * _NUM_BINS).long().clamp(0, _NUM_BINS - 1)  # (answers,)
        self.sums.index_add_(0, bins, rows)

    def compute(self) -> Tensor:
        """Return the error, () from 0 to 1, which is 0 without answers."""
        gaps = (self.sums[:, 0] - self.sums[:, 1]).abs().sum()  # ()
        return (gaps / self.sums[:, 2].sum().clamp(min=1)).float()


def interpolate_minimum(totals: Sequence[float]) -> float:
    """Find the temperature of least loss from the losses at `TEMPERATURES`.

    It is the lowest point of a parabola through the least loss and its two neighbours. At an end of
    the grid, or where the parabola has no lowest point, it is the temperature of the least loss.

    >>> round(interpolate_minimum([(step / 2 - math.log2(1.9)) ** 2 for step in range(-1, 6)]), 3)
    1.9
    >>> interpolate_minimum([0.0] * 7)
    1.0
    """
    candidates = []
    for index, (total, temperature) in enumerate(zip(totals, TEMPERATURES, strict=True)):
        candidates.append((total, abs(math.log(temperature)), index))
    _, _, index = min(candidates)
    if not 0 < index < len(totals) - 1:
        return TEMPERATURES[index]
    before, least, after = totals[index - 1 : index + 2]
    curvature = before - 2 * least + after
    shift = 0.5 * (before - after) / curvature if curvature > 0 else 0.0  # in steps of the grid
    return TEMPERATURES[index] * 2 ** (shift / 2)
