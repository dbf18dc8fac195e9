"""Gathered rows and their gradient in two processes against one process with the joint batch."""

import pytest
import torch
from helpers.processes import PROCESSES, run_in_group

from mmie.blocks.all_gather import all_gather_rows

pytestmark = pytest.mark.slow

BATCH, WIDTH = 3, 4


def joint_rows():
    """Return the rows of the joint batch, (processes * batch, width)."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(PROCESSES * BATCH, WIDTH, generator=generator, dtype=torch.float64)


def compare_posts(rows):
    """Compute a loss that compares every row with every other."""
    return (rows @ rows.T).log_softmax(1).square().mean()


def gather_in_one_process(rank, folder):
    """Save what a process gathers, and the gradient of a weight that its rows depend on."""
    local = joint_rows()[rank::PROCESSES]
    weight = torch.ones(WIDTH, dtype=torch.float64, requires_grad=True)
    gathered = all_gather_rows(local * weight)
    compare_posts(gathered).backward()
    is_positive = all_gather_rows(local[:, 0] > 0)
    results = {"rows": gathered.detach(), "gradient": weight.grad, "is_positive": is_positive}
    torch.save(results, folder / f"{rank}.pt")


def test_rows_and_mean_gradient_equal_those_of_one_process(tmp_path):
    run_in_group(gather_in_one_process, tmp_path)
    results = [torch.load(tmp_path / f"{rank}.pt") for rank in range(PROCESSES)]
    for result in results:
        assert torch.equal(result["rows"], joint_rows())
        assert torch.equal(result["is_positive"], joint_rows()[:, 0] > 0)
    weight = torch.ones(WIDTH, dtype=torch.float64, requires_grad=True)
    compare_posts(joint_rows() * weight).backward()
    mean = sum(result["gradient"] for result in results) / PROCESSES
    torch.testing.assert_close(mean, weight.grad)


def test_single_process_gets_its_own_rows():
    rows = joint_rows()
    assert all_gather_rows(rows) is rows
