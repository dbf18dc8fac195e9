"""Configurations of the package by name."""

import pytest
from helpers.paths import CONFIGS

from mmie.utils import configurations
from mmie.utils.configurations import (
    ConfigurationNotFound,
    configuration_names,
    configurations_folder,
    find_configuration,
)


def test_all_configurations_have_a_name():
    files = {file.relative_to(CONFIGS).as_posix() for file in CONFIGS.rglob("*.yaml")}
    assert {f"{name}.yaml" for name in configuration_names()} == files
    assert configuration_names()[0] == "demo_dghc"


@pytest.mark.parametrize("name", ["hardware/gpu", "hardware/gpu.yaml", "configs/hardware/gpu.yaml"])
def test_a_configuration_is_found_by_name(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find_configuration(name) == CONFIGS / "hardware" / "gpu.yaml"


def test_a_file_wins_over_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rap_mnre").write_text("trainer: {}")
    assert find_configuration("rap_mnre").resolve() == tmp_path / "rap_mnre"


@pytest.mark.parametrize(
    ("name", "part"),
    [("rap_mnr", "did you mean 'rap_mnre'"), ("gpu", "config list"), ("../pyproject", "exist")],
)
def test_an_unknown_name_is_refused(name, part, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationNotFound, match=name) as caught:
        find_configuration(name)
    assert part in str(caught.value)


def test_an_installed_package_has_them_inside(tmp_path, monkeypatch):
    package = tmp_path / "site-packages" / "mmie"
    (package / "configs").mkdir(parents=True)
    monkeypatch.setattr(configurations, "__file__", str(package / "utils" / "configurations.py"))
    assert configurations_folder() == package / "configs"
