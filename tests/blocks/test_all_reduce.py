"""Sums over two processes and their gradients against one process with the joint batch."""

import pytest
import torch
from helpers.processes import PROCESSES, run_in_group

from mmie.blocks.all_reduce import sum_over_processes


def joint_rows():
    """Return the rows of the joint batch."""
    return torch.randn(8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def loss_of(rows, total):
    """Compute a loss of rows that also depends on the sum over all rows."""
    return (rows * total.sin()).exp().mean()


def sum_in_one_process(rank, folder):
    """Save the sum, and the gradient of a weight for a loss of the process's own rows."""
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)
    rows = joint_rows()[rank::PROCESSES] * weight
    total = sum_over_processes(rows.sum())
    loss_of(rows, total).backward()
    torch.save({"total": total.detach(), "gradient": weight.grad}, folder / f"{rank}.pt")


@pytest.mark.slow
def test_sum_and_mean_gradient_equal_those_of_one_process(tmp_path):
    run_in_group(sum_in_one_process, tmp_path)
    results = [torch.load(tmp_path / f"{rank}.pt") for rank in range(PROCESSES)]
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)
    rows = joint_rows() * weight
    loss_of(rows, rows.sum()).backward()
    for result in results:
        torch.testing.assert_close(result["total"], joint_rows().sum())
    assert results[0]["gradient"] != results[1]["gradient"]
    mean = sum(result["gradient"] for result in results) / PROCESSES
    torch.testing.assert_close(mean, weight.grad)


def test_single_process_gets_its_own_values():
    rows = joint_rows()
    assert sum_over_processes(rows) is rows
