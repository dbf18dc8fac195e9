"""``--import`` and plugins; a method of one's own from its fit to the server."""

import json
import subprocess
import sys

import pytest
import torch
import yaml
from helpers.command import check_refused, metrics, run, single_thread_environment, succeed
from helpers.own_method import METHOD, read_cell, write_method, write_plugin
from helpers.paths import REPOSITORY

from mmie.cli.extractors import build_extractor
from mmie.cli.parsing import UsageError
from mmie.cli.plugins import imported_plugins, split_imports
from mmie.cli.serve import _serve_parser, extractor_options

CORPUS = """\
from mmie.data import JsonlCorpus

class OwnCorpus(JsonlCorpus):
    '''Corpus of one's own.'''
"""
SCRIPT = "import sys\nfrom mmie.cli.main import program\nsys.exit(program())\n"
"""What pip writes as the command ``mmie``. Its folder is on Python's path, not the working one."""


@pytest.mark.parametrize(
    "line", [["--import"], ["--import="], ["--import", "a.py"], ["--import=./a"], ["--import=a b"]]
)
def test_a_value_that_names_no_module_is_refused(line):
    with pytest.raises(UsageError, match="expected the name of a module, such as my_package"):
        split_imports(line)


def test_modules_are_found_in_the_working_directory_until_the_command_ends(tmp_path, monkeypatch):
    (tmp_path / "own_first.py").write_text("import own_second\n")
    (tmp_path / "own_second.py").touch()
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    for modules, searches in (([], True), (["own_first"], False)):
        with imported_plugins(modules, searches):
            assert sys.path == [str(tmp_path), *before]
        assert sys.path == before
    assert {"own_first", "own_second"} <= set(sys.modules)


def test_a_command_that_reads_files_of_others_does_not_search_the_working_directory(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with imported_plugins([], False):
        assert str(tmp_path) not in sys.path


def test_the_option_is_named_where_a_module_of_the_working_directory_is_missing(
    demo_root, tmp_path, monkeypatch
):
    (tmp_path / "own_corpus_module.py").write_text(CORPUS)
    monkeypatch.chdir(tmp_path)
    line = ["corpus", "stats", "--corpus=own_corpus_module.OwnCorpus", f"--corpus.root={demo_root}"]
    check_refused(run(*line), "No module named", "--import own_corpus_module")
    elsewhere = [part.replace("own_corpus_module", "own_absent_module") for part in line]
    outcome = run(*elsewhere)
    check_refused(outcome, "No module named")
    assert "--import" not in outcome.err
    assert "16" in succeed(*line, "--import=own_corpus_module").out


def test_commands_that_import_nothing_refuse_the_option():
    check_refused(run("convert", "a.jsonl", "--out=b.csv", "--import=antigravity"), "--import")
    assert "antigravity" not in sys.modules


@pytest.fixture(scope="module")
def own_fit(demo_root, tmp_path_factory):
    """Folder with a method, a corpus and a run of them, which `mmie` fitted in a process there."""
    folder = tmp_path_factory.mktemp("own")
    write_method(folder)
    (folder / "own_corpus.py").write_text(CORPUS)
    (folder / "bin").mkdir()
    (folder / "bin" / "mmie").write_text(SCRIPT)
    config = {"data": {"task": "ner", "max_tokens": 64, "image_size": 64}}
    (folder / "own.yaml").write_text(yaml.safe_dump(config))
    line = [
        "fit",
        "--config=own.yaml",
        f"--model={METHOD}.GatedPicture",
        f"--model.text_encoder={demo_root / 'encoder'}",
        "--model.pretrained=false",
        "--model.vision_backbone=test_resnet",
        "--model.head_lr=0.03",
        "--data.corpus=own_corpus.OwnCorpus",
        f"--data.corpus.root={demo_root}",
        "--trainer.max_epochs=1",
        "--trainer.accelerator=cpu",
        "--run_dir=run",
    ]
    environment = single_thread_environment(PYTHONPATH=str(REPOSITORY))
    environment.pop("PYTHONSAFEPATH", None)
    subprocess.run(
        [sys.executable, folder / "bin" / "mmie", *line],
        cwd=folder,
        env=environment,
        check=True,
        timeout=240,
    )
    return folder


@pytest.mark.slow
def test_a_method_and_a_corpus_of_ones_own_work_with_every_command(own_fit, tmp_path, monkeypatch):
    monkeypatch.chdir(own_fit)
    posts = [{"id": "1", "text": "Jordan lands in Phoenix"}]
    (tmp_path / "posts.jsonl").write_text("".join(json.dumps(post) + "\n" for post in posts))
    extract = ["extract", tmp_path / "posts.jsonl", "--ner=run", f"--out={tmp_path / 'a.jsonl'}"]
    diagnose = ["diagnose", "run", "--sample=4", f"--out={tmp_path / 'page.html'}"]
    export = ["export", "run", f"--out={tmp_path / 'exported'}"]
    imports = [f"--import={METHOD}", "--import", "own_corpus"]

    # nothing is imported because a checkpoint or a run names it
    for line in (extract, export):
        check_refused(run(*line), f"{METHOD}.GatedPicture is not known", f"--import {METHOD} ")
    check_refused(run(*diagnose), "own_corpus.OwnCorpus", "--import own_corpus ", "--data.corpus")
    assert not {METHOD, "own_corpus"} & set(sys.modules)

    succeed(*extract, *imports[:1])
    assert (tmp_path / "a.jsonl").read_text().startswith('{"id": "1"')
    succeed(*diagnose, *imports)
    assert "GatedPicture" in (tmp_path / "page.html").read_text()
    certify = ["certify", "run", "--permutations=9", "--resamples=9", "--others=2"]
    succeed(*certify, *imports, f"--out={tmp_path / 'certificate'}")
    succeed("test", "run")
    assert "test/f1" in metrics(own_fit / "run")["test"]
    compare = ["compare", "run", "--diagnose=2", "--resamples=9", f"--out={tmp_path / 'report'}"]
    succeed(*compare, *imports)
    (comparison,) = json.loads((tmp_path / "report" / "comparison.json").read_text())["comparisons"]
    assert list(comparison["insights"]) == ["GatedPicture"]
    succeed(*export, *imports[:1])
    card = (tmp_path / "exported" / "README.md").read_text()
    assert f"\nimport {METHOD}  # " in card
    assert f"`--import {METHOD}`" in card
    options = extractor_options(_serve_parser().parse_args(["--ner=run"]))
    with imported_plugins([METHOD], False):
        extractor = build_extractor(options)
    assert type(extractor.ner.method).__name__ == "GatedPicture"
    benchmark = succeed("benchmark", "run", "--steps=1", "--warmup=1", "--json")
    assert json.loads(benchmark.out)["name"] == "run"


@pytest.mark.slow
def test_the_method_of_an_installed_package_needs_no_option(own_fit, tmp_path, monkeypatch):
    content = torch.load(own_fit / "run" / "best.ckpt", weights_only=True)
    content["mmie"]["method"] = "own_gated_plugin.GatedPicture"
    torch.save(content, tmp_path / "plugin.ckpt")
    export = [
        "export",
        f"--checkpoint={tmp_path / 'plugin.ckpt'}",
        f"--out={tmp_path / 'exported'}",
    ]
    check_refused(run(*export), "--import own_gated_plugin ")
    write_plugin(tmp_path / "site", "own_gated_plugin", read_cell(f"{METHOD}.py"))
    monkeypatch.syspath_prepend(tmp_path / "site")
    succeed(*export)
    assert "GatedPicture" in succeed("methods", "own_gated_plugin.GatedPicture").out
