"""Hostile configurations and command lines, which run or are refused in one line."""

import json
import random

import pytest
import yaml
from helpers.command import run
from helpers.hostile import ODD_VALUES
from helpers.paths import CONFIGS

from mmie.runs import RunError, find_runs
from mmie.utils.files import MAX_YAML_VALUES

pytestmark = pytest.mark.slow

ODD_SETTINGS = (
    # without texts and without NaN, the one value that does not equal itself
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


MAX_DEPTH = 8
"""Depth of a configuration beyond which values are not changed."""


def value_paths(tree, path=()):
    """Yield the keys that lead to each value of a tree."""
    if isinstance(tree, dict):
        items = tree.items()
    elif isinstance(tree, list):
        items = enumerate(tree)
    else:
        return
    for key, value in items:
        yield (*path, key)
        if len(path) < MAX_DEPTH:
            yield from value_paths(value, (*path, key))


def mutate(config: dict, rng: random.Random) -> dict:
    """Return a copy of a configuration with one to three values replaced, left out or renamed."""
    config = json.loads(json.dumps(config))
    for _ in range(rng.randint(1, 3)):
        *parents, key = rng.choice(list(value_paths(config)))
        parent = config
        for name in parents:
            parent = parent[name]
        action = rng.choice(["replace", "replace", "replace", "drop", "rename"])
        if action == "replace" or isinstance(parent, list):
            parent[key] = rng.choice(ODD_SETTINGS)
        elif action == "drop":
            del parent[key]
        else:
            parent[f"{key}{rng.choice(['s', '.a', ' ', '+'])}"] = parent.pop(key)
        if not config:
            break
    return config


@pytest.fixture(scope="module")
def config(demo_root, tiny_bert):
    """Valid configuration that trains for no epoch."""
    settings = yaml.safe_load((CONFIGS / "demo_hvpnet.yaml").read_text(encoding="utf-8"))
    settings["data"]["corpus"] = {
        "class_path": "mmie.data.JsonlCorpus",
        "init_args": {"root": str(demo_root)},
    }
    settings["model"]["init_args"]["text_encoder"] = tiny_bert
    settings["data"].update(batch_size=4, num_workers=0)
    settings.setdefault("trainer", {}).update(max_epochs=0, accelerator="cpu", devices=1)
    return settings


def check_outcome(outcome, text: str) -> None:
    """Check that a command succeeded, or failed with one line.

    Args:
        outcome: Result of the command.
        text: Its configuration, for the message of a failure.
    """
    assert outcome.status in (0, 1, 2), text
    lines = [line for line in outcome.err.splitlines() if not line.startswith("warning: ")]
    if outcome.status:
        starts = [line.startswith("mmie: ") for line in lines if line.strip()]
        assert starts == [True], (text, outcome.err)
        assert len(lines[-1]) < 2000


@pytest.mark.filterwarnings("ignore")
def test_mutated_configurations(config, tmp_path, rounds):
    rng = random.Random(0)
    file = tmp_path / "config.yaml"
    options = [
        f"--config={file}",
        f"--run_dir={tmp_path / 'run'}",
        "--overwrite=true",
        "--feature_store=null",
        "--trainer.max_epochs=1",
        "--trainer.limit_train_batches=1",
        "--trainer.limit_val_batches=1",
    ]
    statuses = []
    for number in range(rounds(12, 1500)):
        tried = mutate(config, rng) if number else config
        text = yaml.safe_dump(tried, allow_unicode=True)
        file.write_text(text, encoding="utf-8", errors="replace")
        outcome = run("fit", *options)
        check_outcome(outcome, text)
        statuses.append(outcome.status)
    assert statuses[0] == 0
    assert sum(map(bool, statuses)) > len(statuses) // 3


@pytest.mark.parametrize("text", BROKEN, ids=range(len(BROKEN)))
def test_broken_configurations(tmp_path, text):
    file = tmp_path / "config.yaml"
    file.write_text(text, encoding="utf-8")
    outcome = run("fit", f"--config={file}", f"--run_dir={tmp_path / 'run'}")
    assert outcome.status in (1, 2)
    check_outcome(outcome, text)


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
    outcome = run(*line)
    assert outcome.status in (1, 2)
    assert "Traceback" not in outcome.err
    assert outcome.err.strip()


def test_aliases_are_not_expanded_to_billions_of_values(tmp_path):
    # each of nine levels refers to the one below nine times
    lines = ["a0: &a0 {x: 1}"]
    for level in range(1, 10):
        aliases = ", ".join(f"k{key}: *a{level - 1}" for key in range(9))
        lines.append(f"a{level}: &a{level} {{{aliases}}}")
    file = tmp_path / "config.yaml"
    file.write_text("\n".join(lines), encoding="utf-8")
    outcome = run("fit", f"--config={file}")
    check_outcome(outcome, "")
    assert f"expected at most {MAX_YAML_VALUES} values, found more with all aliases" in outcome.err
    lines.append("data: {corpus: {class_path: a.B, init_args: {root: a}}, task: ner}")
    lines.append("model: {class_path: a.B, init_args: *a9}")
    file.write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "metrics.json").write_text('{"test": {"test/f1": 0.5}}')
    with pytest.raises(RunError):
        find_runs([tmp_path])
