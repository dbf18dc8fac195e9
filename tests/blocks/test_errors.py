"""Messages about unavailable models."""

import pytest

from mmie.blocks.errors import EncoderUnsuited, WeightsUnavailable, unavailable_message
from mmie.types import MmieError


def test_errors_are_those_of_the_package_and_of_python():
    assert issubclass(WeightsUnavailable, MmieError)
    assert issubclass(WeightsUnavailable, RuntimeError)
    assert issubclass(EncoderUnsuited, MmieError)
    assert issubclass(EncoderUnsuited, ValueError)


def test_message_about_a_hub_name_names_the_remedy():
    message = unavailable_message("text encoder", "nobody/nothing")
    assert message.startswith("text encoder 'nobody/nothing' is no local folder and the hub")
    assert "set pretrained: false" in message


@pytest.mark.parametrize(
    ("pretrained", "files"), [(True, "config.json and model.safetensors"), (False, "config.json")]
)
def test_message_about_a_folder_names_the_files_and_shortens_the_reason(
    tmp_path, pretrained, files
):
    message = unavailable_message("CLIP", str(tmp_path), pretrained, "a reason\n" + "long " * 100)
    assert message.startswith(f"CLIP '{tmp_path}': the folder holds no model")
    assert f"(needed: {files}; a reason long" in message
    assert message.endswith("[...])")
    assert "\n" not in message
    assert unavailable_message("CLIP", str(tmp_path), pretrained).endswith(f"(needed: {files})")
