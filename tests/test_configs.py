"""Every configuration in `configs/`: there, free of slips, understood by the real parser, and able to run."""

import pytest
import yaml
from helpers.command import run, succeed
from helpers.paths import CONFIGS

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
    """Refuses a key that occurs twice, of which YAML would silently take the last."""

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value]
        assert len(keys) == len(set(keys)), f"twice in one mapping: {keys}"
        return super().construct_mapping(node, deep)


def read(name):
    return yaml.load((CONFIGS / f"{name}.yaml").read_text(encoding="utf-8"), StrictLoader)


def parsed(*names):
    """What the parser makes of configurations laid over one another."""
    return succeed(
        "fit", *(f"--config={CONFIGS / f'{name}.yaml'}" for name in names), "--print_config"
    ).config


def missing(part, whole, path=""):
    """Settings of ``part`` that ``whole`` does not have with the same value."""
    if not isinstance(part, dict):
        return [] if part == whole else [f"{path}: {part} became {whole}"]
    return [
        line
        for key, value in part.items()
        for line in missing(value, (whole or {}).get(key), f"{path}.{key}")
    ]


@pytest.mark.parametrize("name", REQUIRED)
def test_every_method_has_a_configuration_for_every_corpus(name):
    corpus = name.rpartition("_")[2]
    config = read(name)
    class_name, task = CORPORA[corpus]
    assert (
        config["model"]["class_path"] == f"mmie.methods.{METHODS[name.removesuffix(f'_{corpus}')]}"
    )
    assert config["data"]["corpus"]["class_path"] == f"mmie.data.{class_name}"
    assert config["data"]["task"] == task


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_demo_configuration(method):
    assert read(f"demo_{method}")["model"]["class_path"] == f"mmie.methods.{METHODS[method]}"


@pytest.mark.parametrize("name", COMPLETE)
def test_a_configuration_is_complete(name):
    config = read(name)
    assert config["run_dir"] == f"runs/{name}"
    assert config["seed_everything"] == 1234
    assert config["trainer"]["max_epochs"] > 0
    assert {"task", "batch_size", "max_tokens"} <= set(config["data"])


@pytest.mark.parametrize("hardware", HARDWARE)
@pytest.mark.parametrize("name", COMPLETE)
def test_a_configuration_arrives_as_written_on_all_hardware(name, hardware):
    found = parsed(name, f"hardware/{hardware}")
    assert missing(read(f"hardware/{hardware}"), found) == []
    assert missing(read(name), found) == []


def test_the_hardware_is_what_its_name_says():
    assert read("hardware/cpu")["trainer"]["accelerator"] == "cpu"
    assert (
        read("hardware/gpu")["trainer"]["accelerator"],
        read("hardware/gpu")["trainer"]["devices"],
    ) == ("gpu", 1)
    four = read("hardware/ddp4")["trainer"]
    assert (four["devices"], four["strategy"]) == (4, "ddp")


def test_wandb_lies_over_a_configuration():
    found = parsed("rap_mnre", "wandb")
    assert found["wandb"]["project"] == "mmie"
    assert parsed("rap_mnre")["wandb"] is None


@pytest.mark.parametrize("name", ABLATIONS)
def test_an_ablation_lies_over_its_methods_configuration(name):
    owners = [base for base in COMPLETE if name.startswith(f"{base.rpartition('_')[0]}_")]
    assert owners, f"no configuration of the method that {name} takes something from"
    assert missing(read(f"ablations/{name}"), parsed(owners[0], f"ablations/{name}")) == []


def test_a_misspelt_option_would_be_found(tmp_path):
    text = (CONFIGS / "rap_mnre.yaml").read_text()
    for right, wrong in (
        ("path_weight", "path_wieght"),
        ("batch_size", "bach_size"),
        ("max_epochs", "max_epoch"),
    ):
        (tmp_path / "slip.yaml").write_text(text.replace(right, wrong))
        assert run("fit", f"--config={tmp_path / 'slip.yaml'}", "--print_config").status == 2


@pytest.mark.parametrize("name", COMPLETE)
def test_a_configuration_runs(name, demo_root, tiny_bert, tmp_path):
    """One step of training and validation, with a tiny corpus, encoder and backbone in the place of the real ones."""
    replaced = [
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
    settings = read(name)["model"]["init_args"]
    if "vision_backbone" in settings:
        kind = "vit" if "vit" in settings["vision_backbone"] else "resnet"
        replaced.append(f"--model.init_args.vision_backbone=test_{kind}")
    if "fusion_layers" in settings:
        replaced.append("--model.init_args.fusion_layers=1")
    if "clip" in settings:
        replaced.append("--model.init_args.clip=null")
    outcome = succeed("fit", f"--config={CONFIGS / f'{name}.yaml'}", *replaced)
    assert "train/loss" in outcome.out
