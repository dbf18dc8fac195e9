"""Choice of the device to compute on."""

import pytest
import torch

from mmie.utils.devices import DeviceError, resolve_device


def test_auto_is_a_gpu_on_machines_that_have_one():
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert resolve_device().type == resolve_device("auto").type == expected
    assert resolve_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["cuda:99", "tpu-of-mine", ""])
def test_a_missing_device_is_named_in_one_line(name):
    with pytest.raises(DeviceError, match=f"device '{name}' is not there") as caught:
        resolve_device(name)
    assert "\n" not in str(caught.value)
