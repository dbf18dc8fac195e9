"""Measurements of the GPU report on tiny models, on the CPU."""

import stat

import pytest
import torch

from mmie.experiments.gpu_measures import (
    SMALL,
    build_data,
    build_method,
    compare_precisions,
    extraction_rate,
    fit_epoch,
    plain_epoch,
    sampled_utilisation,
    training_loss,
    write_workspace,
)
from mmie.methods import RAP, HVPNet

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpu") / "demo"
    write_workspace(folder, SMALL)
    return build_data(folder, SMALL)


def test_methods_are_built_with_the_same_weights(data):
    first, second = (build_method(HVPNet, data, SMALL) for _ in range(2))
    assert first.text.hidden_size == SMALL.text["hidden_size"]
    for left, right in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(left, right)


def test_epochs_of_both_loops_take_time_and_train(data, tmp_path):
    module = build_method(HVPNet, data, SMALL)
    before = [weights.clone() for weights in module.parameters()]
    assert plain_epoch(module, data, CPU) > 0
    after_plain = [weights.clone() for weights in module.parameters()]
    assert any(not torch.equal(*pair) for pair in zip(before, after_plain, strict=True))
    epoch = fit_epoch(module, data, tmp_path, CPU, "32-true")
    assert epoch.seconds > 0
    assert epoch.busy is None  # no GPU
    assert any(
        not torch.equal(*pair) for pair in zip(after_plain, module.parameters(), strict=True)
    )
    assert list(tmp_path.glob("*/*.safetensors"))
    assert extraction_rate(module, data, CPU) > 0


def test_plain_epochs_are_extrapolated_from_their_first_steps(data, monkeypatch):
    steps = []

    def count(module, batch):
        steps.append(len(batch))
        return training_loss(module, batch)

    monkeypatch.setattr("mmie.experiments.gpu_measures.training_loss", count)
    monkeypatch.setattr("mmie.experiments.gpu_measures._time", lambda device: float(len(steps)))
    # a second a step: an epoch of four steps takes four
    assert plain_epoch(build_method(HVPNet, data, SMALL), data, CPU, limit=2) == 4
    assert steps == [4, 4, 4]


@pytest.mark.parametrize("method", [HVPNet, RAP])
def test_bfloat16_agrees_nearly_but_not_exactly(data, method):
    agreement = compare_precisions(build_method(method, data, SMALL), data, CPU)
    assert 0 < agreement.loss < 0.05
    assert 0 < agreement.gradient < 0.1


def test_samples_of_a_gpu_are_read_from_nvidia_smi(tmp_path):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 50\necho '[N/A]'\necho 100\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    with sampled_utilisation(torch.device("cuda", 0), str(program)) as shares:
        assert shares == []
    # the program may be ended before it has written all lines
    assert shares in ([], [0.5], [0.5, 1.0])
    with sampled_utilisation(torch.device("cuda", 0), str(tmp_path / "none")) as shares:
        pass
    assert shares == []
