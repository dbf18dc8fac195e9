"""Configurations in `configs/`: complete, without misspelt options, and able to run."""

import pytest
import yaml
from helpers.command import run, succeed
from helpers.paths import CONFIGS

pytestmark = pytest.mark.slow

METHODS = {
    "text_only": "TextOnly",
    "hvpnet": "HVPNet",
    "rsrnet": "RSRNeT",
    "rap": "RAP",
    "dghc": "DGHC",
    "imm": "IMM",
    "mlnet": "MLNet",
    "mlnet_pretrain": "MLNetPretraining",
}
CORPORA = {
    "twitter2015": ("Twitter2015", "ner"),
    "twitter2017": ("Twitter2017", "ner"),
    "mnre": ("MNRE", "re"),
}
HARDWARE = ("cpu", "gpu", "ddp4")
REQUIRED = [f"{method}_{corpus}" for method in METHODS for corpus in CORPORA]
COMPLETE = sorted(file.stem for file in CONFIGS.glob("*.yaml") if file.stem != "wandb")
ABLATIONS = sorted(file.stem for file in (CONFIGS / "ablations").glob("*.yaml"))


class StrictLoader(yaml.SafeLoader):
    """YAML loader that rejects repeated keys, of which YAML would silently take the last."""

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"repeated in one mapping: {keys}"
        return super().construct_mapping(node, deep)


def read_config(name):
    """Read a configuration file."""
    return yaml.load((CONFIGS / f"{name}.yaml").read_text(encoding="utf-8"), StrictLoader)


def parse_configs(*names):
    """Return the parser's result for configurations that are laid over one another."""
    options = [f"--config={CONFIGS / f'{name}.yaml'}" for name in names]
    return succeed("fit", *options, "--print_config").config


def lost_settings(part, whole, path=""):
    """Return a line for each setting of ``part`` that has another value in ``whole``."""
    if not isinstance(part, dict):
        return [] if part == whole else [f"{path}: {part} became {whole}"]
    lines = []
    for key, value in part.items():
        lines += lost_settings(value, (whole or {}).get(key), f"{path}.{key}")
    return lines


@pytest.mark.parametrize("name", REQUIRED)
def test_every_method_has_a_configuration_for_every_corpus(name):
    method, _, corpus = name.rpartition("_")
    config = read_config(name)
    class_name, task = CORPORA[corpus]
    assert config["model"]["class_path"] == f"mmie.methods.{METHODS[method]}"
    assert config["data"]["corpus"]["class_path"] == f"mmie.data.{class_name}"
    assert config["data"]["task"] == task


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_demo_configuration(method):
    assert read_config(f"demo_{method}")["model"]["class_path"] == f"mmie.methods.{METHODS[method]}"


@pytest.mark.parametrize("name", COMPLETE)
def test_a_configuration_is_complete(name):
    config = read_config(name)
    assert config["run_dir"] == f"runs/{name}"
    assert config["seed_everything"] == 1234
    assert config["trainer"]["max_epochs"] > 0
    assert {"task", "batch_size", "max_tokens"} <= set(config["data"])


@pytest.mark.parametrize("hardware", HARDWARE)
@pytest.mark.parametrize("name", COMPLETE)
def test_a_configuration_is_parsed_as_written_on_all_hardware(name, hardware):
    config = parse_configs(name, f"hardware/{hardware}")
    assert lost_settings(read_config(f"hardware/{hardware}"), config) == []
    assert lost_settings(read_config(name), config) == []


def test_hardware_is_named_by_its_settings():
    assert read_config("hardware/cpu")["trainer"]["accelerator"] == "cpu"
    gpu = read_config("hardware/gpu")["trainer"]
    assert (gpu["accelerator"], gpu["devices"]) == ("gpu", 1)
    four_gpus = read_config("hardware/ddp4")["trainer"]
    assert (four_gpus["devices"], four_gpus["strategy"]) == (4, "ddp")


def test_wandb_is_laid_over_a_configuration():
    assert parse_configs("rap_mnre", "wandb")["wandb"]["project"] == "mmie"
    assert parse_configs("rap_mnre")["wandb"] is None


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_is_laid_over_the_configuration_of_its_method(name):
    bases = [base for base in COMPLETE if name.startswith(f"{base.rpartition('_')[0]}_")]
    assert bases, f"there is no configuration of the method that {name} changes"
    ablation = f"ablations/{name}"
    assert lost_settings(read_config(ablation), parse_configs(bases[0], ablation)) == []


def test_a_misspelt_option_is_detected(tmp_path):
    text = (CONFIGS / "rap_mnre.yaml").read_text()
    file = tmp_path / "misspelt.yaml"
    for option, misspelt in (
        ("path_weight", "path_wieght"),
        ("batch_size", "bach_size"),
        ("max_epochs", "max_epoch"),
    ):
        file.write_text(text.replace(option, misspelt))
        assert run("fit", f"--config={file}", "--print_config").status == 2


@pytest.mark.parametrize("name", COMPLETE)
def test_a_configuration_runs(name, demo_root, tiny_bert, tmp_path):
    """Run one step of training and validation with a tiny corpus, encoder and backbone."""
    tiny = [
        f"--config={CONFIGS / 'hardware' / 'cpu.yaml'}",
        "--data.corpus.class_path=mmie.data.JsonlCorpus",
        f"--data.corpus.init_args.root={demo_root}",
        f"--model.init_args.text_encoder={tiny_bert}",
        "--model.init_args.pretrained=false",
        "--data.image_size=64",
        "--data.batch_size=4",
        "--trainer.fast_dev_run=true",
        f"--run_dir={tmp_path / 'run'}",
    ]
    settings = read_config(name)["model"]["init_args"]
    if "vision_backbone" in settings:
        kind = "vit" if "vit" in settings["vision_backbone"] else "resnet"
        tiny.append(f"--model.init_args.vision_backbone=test_{kind}")
    if "fusion_layers" in settings:
        tiny.append("--model.init_args.fusion_layers=1")
    if "clip" in settings:
        tiny.append("--model.init_args.clip=null")
    outcome = succeed("fit", f"--config={CONFIGS / f'{name}.yaml'}", *tiny)
    assert "training loss" in outcome.out
