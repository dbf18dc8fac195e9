"""Choice of the device to compute on, and description of the machine."""

import os
import re

import pytest
import torch

from mmie.utils.devices import DeviceError, describe_hardware, resolve_device


def test_auto_is_a_gpu_on_machines_that_have_one():
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert resolve_device().type == resolve_device("auto").type == expected
    assert resolve_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["cuda:99", "tpu-of-mine", ""])
def test_a_missing_device_is_named_in_one_line(name):
    with pytest.raises(DeviceError, match=f"device '{name}' is not there") as caught:
        resolve_device(name)
    assert "\n" not in str(caught.value)


def test_the_cpu_is_described_with_its_cores_and_the_processes():
    alone = describe_hardware(torch.device("cpu"))
    assert re.fullmatch(r"\S.* \(\d+ cores?, \d+ threads?\)", alone)
    threads = torch.get_num_threads()
    assert alone.endswith(f", {threads} thread{'s' if threads > 1 else ''})")
    if hasattr(os, "sched_getaffinity"):
        assert f"({len(os.sched_getaffinity(0))} core" in alone
    assert describe_hardware(torch.device("cpu"), 4) == f"{alone}, 4 processes"
    assert describe_hardware(torch.device("mps"), 2) == f"2 x mps, {alone}"
