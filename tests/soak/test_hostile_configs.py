"""Configurations of every kind through the command line: it runs, or says in one line what is wrong."""

import json
import random

import pytest
import yaml
from helpers.command import run
from helpers.hostile import ODD_VALUES
from helpers.paths import CONFIGS

from mmie.runs import RunError, find_runs

ODD_SETTINGS = (
    *(value for value in ODD_VALUES if value == value and not isinstance(value, str)),
    "",
    "x",
    "null",
    "~",
    "~nobody/a",
    "a\0b",
    "\x1b[31m",
    "../..",
    "1e9",
    "[",
    "{",
    "a: b: c",
    "os.system",
    "mmie.methods.HVPNet",
    "torch.nn.Linear",
    {"class_path": "os.system"},
    {"class_path": "subprocess.Popen", "init_args": {}},
    {"class_path": "mmie.data.MNRE", "init_args": {"root": "absent"}},
    [1, 2],
    -0.5,
    1e-30,
    10**12,
)
BROKEN = (
    "",
    "a",
    "- a",
    "a: &a [*a]",
    "data: &d {corpus: *d}",
    "{",
    "data: [",
    "\t",
    "\0",
    "data: {task: ner, task: re}",
    "!!python/object/apply:os.system [id]",
    "data: !!python/name:os.system",
    "? [a]\n: b",
    "model: {class_path: !!binary aGk=}",
    "\ufeffdata: null",
    "%YAML 9.9\n---\n",
    "---\na\n---\nb",
    "[" * 5000,
    "model: {class_path: mmie.methods.Nothing}",
    "model: mmie.methods",
    "data: 2020-01-01",
    "trainer: .inf",
    "seed_everything: -1",
    "run_dir: {}",
    'data: "a\\0b"',
)


def leaves(tree, path=()):
    """Paths of all values of a tree that lie no deeper than those of a configuration do."""
    for key, value in (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree)
        if isinstance(tree, list)
        else ()
    ):
        yield (*path, key)
        if len(path) < 8:
            yield from leaves(value, (*path, key))


def mutant(config: dict, rng: random.Random) -> dict:
    """The configuration with one to three values exchanged, left out, renamed or moved."""
    config = json.loads(json.dumps(config))
    for _ in range(rng.randint(1, 3)):
        *parents, key = rng.choice(list(leaves(config)))
        place = config
        for parent in parents:
            place = place[parent]
        action = rng.choice(["exchange", "exchange", "exchange", "drop", "rename"])
        if action == "exchange" or isinstance(place, list):
            place[key] = rng.choice(ODD_SETTINGS)
        elif action == "drop":
            del place[key]
        else:
            place[f"{key}{rng.choice(['s', '.a', ' ', '+'])}"] = place.pop(key)
        if not config:
            break
    return config


@pytest.fixture(scope="module")
def config(demo_root, tiny_bert):
    """A sound configuration that trains for no epoch."""
    settings = yaml.safe_load((CONFIGS / "demo_hvpnet.yaml").read_text(encoding="utf-8"))
    settings["data"]["corpus"] = {
        "class_path": "mmie.data.JsonlCorpus",
        "init_args": {"root": str(demo_root)},
    }
    settings["model"]["init_args"]["text_encoder"] = tiny_bert
    settings["data"].update(batch_size=4, num_workers=0)
    settings["trainer"] = {
        **settings.get("trainer", {}),
        "max_epochs": 0,
        "accelerator": "cpu",
        "devices": 1,
    }
    return settings


def check(ended, text: str) -> None:
    """The command ended well, or with one line and the status of what a user can mend."""
    assert ended.status in (0, 1, 2), text
    lines = [line for line in ended.err.splitlines() if not line.startswith("warning: ")]
    if ended.status:
        assert [line.startswith("mmie: ") for line in lines if line.strip()] == [True], (
            text,
            ended.err,
        )
        assert len(lines[-1]) < 2000


@pytest.mark.filterwarnings("ignore")
def test_mutated_configurations(config, tmp_path, rounds):
    rng = random.Random(0)
    outcomes = []
    for number in range(rounds(12, 1500)):
        text = yaml.safe_dump(mutant(config, rng) if number else config, allow_unicode=True)
        file = tmp_path / "config.yaml"
        file.write_text(text, encoding="utf-8", errors="replace")
        ended = run(
            "fit",
            f"--config={file}",
            f"--run_dir={tmp_path / 'run'}",
            "--overwrite=true",
            "--feature_store=null",
            "--trainer.max_epochs=0",
        )
        check(ended, text)
        outcomes.append(ended.status)
    assert outcomes[0] == 0
    assert sum(map(bool, outcomes)) > len(outcomes) // 3


@pytest.mark.parametrize("text", BROKEN, ids=range(len(BROKEN)))
def test_broken_configurations(tmp_path, text):
    file = tmp_path / "config.yaml"
    file.write_text(text, encoding="utf-8")
    ended = run("fit", f"--config={file}", f"--run_dir={tmp_path / 'run'}")
    assert ended.status in (1, 2)
    check(ended, text)


COMMANDS = (
    ["fit", "--config=absent.yaml"],
    ["fit", "--config=."],
    ["fit", "--config"],
    ["fit", "--no_such"],
    ["nothing"],
    ["fit", "--print_config=x"],
    ["corpus", "check", "JsonlCorpus", "--corpus.root=~nobody/x"],
    ["corpus", "stats", "MNRE", "--corpus.root=/dev/null"],
    ["corpus"],
    ["corpus", "check", "mmie.data.JsonlCorpus", "--corpus.root=a\0b"],
    ["compare", "absent"],
    ["compare", "["],
    ["compare", "\0"],
    ["sweep", "absent.yaml", "--out=a"],
    ["diagnose", "--checkpoint=absent"],
    ["extract", "absent", "--out=a.jsonl"],
    ["extract", "-"],
    ["extract", "/dev/null", "--out=a.jsonl", "--ner=absent"],
    ["convert", "absent", "--out=a.csv"],
    ["convert", ".", "--out=a.csv"],
    ["ground", "absent", "--out=a"],
    ["methods", "Nothing"],
    ["benchmark", "--steps=x"],
    ["benchmark", "--config=absent"],
    ["serve", "--port=x"],
    ["study"],
    ["test", "--config=absent"],
    ["predict"],
    ["validate", "--ckpt_path=absent"],
)


@pytest.mark.parametrize("line", COMMANDS, ids=" ".join)
def test_wrong_command_lines(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ended = run(*line)
    assert ended.status in (1, 2)
    assert "Traceback" not in ended.err
    assert ended.err.strip()


def test_a_tree_that_swells(tmp_path):
    """Nine references to nine references, nine times over, are not spelled out."""
    swollen = [
        f"a{n}: &a{n} {{{', '.join(f'k{k}: *a{n - 1}' for k in range(9))}}}" for n in range(1, 10)
    ]
    lines = ["a0: &a0 {x: 1}", *swollen]
    file = tmp_path / "config.yaml"
    file.write_text("\n".join(lines), encoding="utf-8")
    ended = run("fit", f"--config={file}")
    check(ended, "")
    assert "aliases that swell" in ended.err
    lines += ["data: {corpus: {class_path: a.B, init_args: {root: a}}, task: ner}"]
    lines += ["model: {class_path: a.B, init_args: *a9}"]
    file.write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "metrics.json").write_text('{"test": {"test/f1": 0.5}}')
    with pytest.raises(RunError):
        find_runs([tmp_path])
