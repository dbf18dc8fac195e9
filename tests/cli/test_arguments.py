"""Mistakes that are reported before libraries are imported, and names that are completed."""

import json
import subprocess
import sys

import pytest
from helpers.command import single_thread_environment, write_jsonl
from helpers.paths import CONFIGS, REPOSITORY
from helpers.run_folders import entity, write_run

from mmie.cli.arguments import prepare_arguments, split_arguments
from mmie.cli.options import command_options
from mmie.cli.usage import UsageError
from mmie.runs.folder import RunFolderError

RAP = str(CONFIGS / "rap_mnre.yaml")

MISTAKES = {
    "option": ("fit", ["--wrong", "1"], "no option --wrong: see mmie fit --help"),
    "option with a value": ("fit", ["--data.batch=3"], "did you mean '--data.batch_size'"),
    "last part of an option": ("fit", ["--max_epochs=3"], "did you mean '--trainer.max_epochs'"),
    "hyphens": ("fit", ["--run-dir=x"], "did you mean '--run_dir'"),
    "option of another command": ("sweep", ["a", "--seed", "3"], "did you mean '--seeds'"),
    "short option": ("convert", ["a", "-x", "b"], "no option -x"),
    "option of a subcommand": ("corpus", ["demo", "--rooot=x"], "did you mean '--root'"),
    "subcommand": ("corpus", ["stat"], "did you mean 'stats'"),
    "no subcommand": ("config", [], "expected one of list, show"),
    "no value": ("fit", ["--run_dir"], "--run_dir: expected one argument"),
    "no value before an option": (
        "fit",
        ["--run_dir", "--overwrite=true"],
        "expected one argument",
    ),
    "configuration": ("fit", ["--config=rap_mnr"], "did you mean 'rap_mnre'"),
    "configuration to compare": ("benchmark", ["--against", "rap_mnr"], "did you mean 'rap_mnre'"),
    "file without its option": ("fit", ["mine.yaml"], "--config mine.yaml"),
    "name without its option": ("test", ["rap_mnre"], "mmie test --config rap_mnre"),
    "stray word": ("fit", [f"--config={RAP}", "stray"], "'stray' belongs to no option"),
    "nothing": ("fit", [], "--config demo_hvpnet"),
}


@pytest.mark.parametrize(("command", "arguments", "part"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_named(command, arguments, part):
    with pytest.raises(UsageError, match=r".+") as caught:
        prepare_arguments(command, arguments)
    assert part in str(caught.value)


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("fit", ["--model.text_lr=1", "--model.init_args.any", "2", "--data.corpus.root", "x"]),
        ("fit", ["--trainer.callbacks+=mine.Callback", "--model.help", "--print_config"]),
        ("fit", ["--trainer.devices", "-1", '--config={"trainer": {"max_epochs": 3}}']),
        ("test", ["runs/x", "--ckpt_path=last.ckpt"]),
        ("extract", ["posts.jsonl", "-o", "a.jsonl", "b.csv", "--overwrite"]),
        ("extract", ["-", "-oa.jsonl"]),
        ("compare", ["runs", "--wandb={}", "--wandb.project", "mine"]),
        ("convert", ["--out=a.csv", "--", "--strange-name"]),
        ("ground", ["convert", "a.pth", "b.jsonl", "--key", "id"]),
        ("corpus", ["features", "--data.batch_size=3"]),
        ("study", ["--help"]),
    ],
)
def test_what_may_be_right_is_left_as_it_is(command, arguments):
    assert prepare_arguments(command, arguments) == arguments


def test_names_of_configurations_become_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = ["--config", "rap_mnre", "--config=hardware/gpu", "-c", "configs/wandb.yaml"]
    expected = ["--config", RAP, f"--config={CONFIGS / 'hardware' / 'gpu.yaml'}", "-c"]
    assert prepare_arguments("fit", given) == [*expected, str(CONFIGS / "wandb.yaml")]
    assert prepare_arguments("benchmark", ["--against=rap_mnre"]) == [f"--against={RAP}"]


@pytest.mark.parametrize("name", ["twitter2017", "Twitter2017", "TWITTER_2017", "twitter-2017"])
@pytest.mark.parametrize("flag", ["--data.corpus", "--data.corpus.class_path"])
def test_a_class_is_named_in_any_form(flag, name):
    prepared = prepare_arguments("fit", ["--print_config", f"{flag}={name}"])
    assert prepared == ["--print_config", f"{flag}=mmie.data.Twitter2017"]


@pytest.mark.parametrize("name", ["Mine", "my_package.Twitter2017", "corpus.yaml", "twitter"])
def test_another_class_is_left_to_the_parser(name):
    arguments = ["--print_config", "--data.corpus", name]
    assert prepare_arguments("fit", arguments) == arguments


def fit_with(folder, *arguments):
    """Check a fit whose configuration names a run folder."""
    config = folder / "config.yaml"
    config.write_text(f"run_dir: {folder / 'run'}\n")
    prepare_arguments("fit", [f"--config={config}", *arguments])


def test_a_run_folder_in_use_is_refused(tmp_path):
    fit_with(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "last.ckpt").touch()
    with pytest.raises(RunFolderError, match="holds a run already"):
        fit_with(tmp_path)
    with pytest.raises(RunFolderError, match="holds a run already"):
        fit_with(tmp_path, "--overwrite=false")
    for free in (
        ["--overwrite", "true"],
        [f"--run_dir={tmp_path / 'other'}"],
        ["--ckpt_path=last"],
        [f"--ckpt_path={tmp_path / 'run' / 'last.ckpt'}"],
        ["--print_config"],
        ["--overwrite=[1]"],
    ):
        fit_with(tmp_path, *free)


def test_later_settings_of_the_run_folder_override_earlier_ones(tmp_path):
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "last.ckpt").touch()
    (tmp_path / "free.yaml").write_text(f"run_dir: {tmp_path / 'free'}\n")
    used, free = f"--run_dir={tmp_path / 'used'}", f"--config={tmp_path / 'free.yaml'}"
    prepare_arguments("fit", [used, free])
    with pytest.raises(RunFolderError):
        prepare_arguments("fit", [free, used])


def test_a_test_without_a_fit_is_refused(tmp_path):
    options = ["--config=rap_mnre", f"--run_dir={tmp_path}"]
    with pytest.raises(RunFolderError, match=r"best.ckpt does not exist"):
        prepare_arguments("test", options)
    with pytest.raises(RunFolderError, match=r"last.ckpt does not exist"):
        prepare_arguments("test", [*options, "--ckpt_path=last"])
    (tmp_path / "best.ckpt").touch()
    prepare_arguments("test", options)


def test_arguments_are_divided_as_they_were_joined():
    words = ["posts", "--out", "a", "b", "--overwrite", "--ner=x", "-n", "--", "--y"]
    given = split_arguments(command_options("extract", ())[0], words)
    assert [word for item in given for word in item.words] == words
    assert [item.flag for item in given] == ["", "--out", "--overwrite", "--ner", "-n", "--"]


LIGHT = [
    ["ftt"],
    ["--version"],
    ["--help"],
    ["fit", "--wrong"],
    ["fit", "--help"],
    ["extract", "--threads=1", "--wrong"],
    ["fit", "--config=rap_mnr"],
    ["fit", "--config=rap_mnre", "--model.text_lr=fast"],
    ["fit", "--model=RAPP"],
    ["test", "--config=rap_mnre", "--data.batch_size=many"],
    ["help", "fit"],
    ["methods", "--wrong"],
    ["compare", "/no/such/folder"],
    ["convert", "/no/such/file.jsonl", "--out=x.csv"],
    ["config", "list"],
    ["config", "show", "rap_mnre"],
    ["completion", "bash"],
]
PROGRAM = """
import contextlib, io, json, sys
from mmie.cli.main import main
heavy = {}
for line in json.loads(sys.argv[1]):
    sys.argv = ["mmie", *line]
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        main()
    libraries = {"torch", "lightning", "transformers", "torchmetrics", "torchvision"}
    heavy[" ".join(line)] = sorted(libraries & set(sys.modules))
print(json.dumps(heavy))
"""


def imports_of(*lines):
    """Run commands in one process, and return the heavy libraries that it has after each.

    Returns:
        The libraries by command line, and what the commands wrote to standard error.
    """
    process = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(lines)],
        cwd=REPOSITORY,
        env=single_thread_environment(PYTHONPATH=str(REPOSITORY)),
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(process.stdout), process.stderr


def test_answers_that_need_no_library_import_none():
    heavy, errors = imports_of(*LIGHT)
    assert heavy == {" ".join(line): [] for line in LIGHT}
    assert errors.count("mmie: ") == 11


CONVERTED = {
    "brat": "",
    "conll": ".conll",
    "doccano": ".jsonl",
    "html": ".html",
    "json": ".json",
    "jsonl": ".jsonl",
    "label_studio": ".json",
    "tables": ".tsv",
    "triples": ".csv",
}
"""Suffixes of the formats that need no library of their own."""


def test_commands_that_do_not_train_import_no_lightning(tmp_path):
    root = tmp_path / "corpus"
    root.mkdir()
    for split in ("train", "test"):
        posts = []
        for number in range(12):
            words = ["Jordan", "lands", split, str(number)]
            posts.append({"id": f"{split}{number}", "words": words, "entities": [entity(0, "PER")]})
        write_jsonl(root / f"{split}.jsonl", posts)
    corpus = ["--corpus=JsonlCorpus", f"--corpus.root={root}"]
    source = str(root / "train.jsonl")
    lines = [
        ["corpus", "stats", *corpus],
        ["corpus", "check", *corpus],
        ["corpus", "split", source, f"--out={tmp_path / 'split'}"],
        ["diagnose", "--help"],
        ["methods"],
    ]
    targets = [tmp_path / f"{name}{suffix}" for name, suffix in CONVERTED.items()]
    for name, target in zip(CONVERTED, targets, strict=True):
        lines.append(["convert", source, f"--to={name}", f"--out={target}"])
    for seed in (1, 2):
        write_run(tmp_path / "runs" / str(seed), seed=seed)
    compare = ["compare", str(tmp_path / "runs"), f"--out={tmp_path / 'report'}"]
    heavy, errors = imports_of(*lines, compare)
    assert heavy.pop(" ".join(compare)) == ["torch"], "it resamples posts"
    assert heavy == {" ".join(line): [] for line in lines}
    assert "mmie: " not in errors
    for written in (tmp_path / "split" / "train.jsonl", tmp_path / "report", *targets):
        assert written.exists()
