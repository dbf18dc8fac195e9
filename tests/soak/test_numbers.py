"""All numbers stay finite in long fits in bf16 and on odd posts."""

import shutil

import pytest
import torch
from helpers.command import metrics, predictions, read_jsonl, succeed, tiny_options, write_jsonl
from helpers.methods import build_data, build_module, build_trainer, instance_without_views
from lightning.pytorch import Callback
from test_contract import METHODS, TASKS

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
LONG_TEXT = [f"word{number}" for number in range(300)]


def dense_values(gradient):
    """Return the values of a gradient, dense or sparse."""
    return gradient.coalesce().values() if gradient.is_sparse else gradient


class FiniteCheck(Callback):
    """Callback that fails on the first loss, gradient or weight that is not finite."""

    def __init__(self) -> None:
        self.steps = 0

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        wrong = []
        for name, parameter in pl_module.named_parameters():
            gradient = parameter.grad
            if gradient is not None and not dense_values(gradient).isfinite().all():
                wrong.append(name)
        assert wrong == [], f"gradients of step {trainer.global_step}"

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        assert outputs["loss"].isfinite(), f"loss of step {trainer.global_step}"
        self.steps += 1

    def on_train_end(self, trainer, pl_module):
        assert all(value.isfinite().all() for value in pl_module.state_dict().values())


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", METHODS)
def test_a_long_fit_in_bf16_stays_finite(name, task, rounds, demo_root, tmp_path, request):
    case = METHODS[name]
    encoder = request.getfixturevalue(case.encoder)
    data = build_data(demo_root, task, encoder)
    instances = data.instances["train"]
    instances[::3] = map(instance_without_views, instances[::3])
    data.instances["train"] = instances[: rounds(8, len(instances))]
    rates = {"text_lr": 2e-3, "fusion_lr": 2e-3}
    module = build_module(case.method, data.schema, encoder, **case.arguments, **rates)
    check = FiniteCheck()
    steps = rounds(3, 2000)
    trainer = build_trainer(
        tmp_path, max_steps=steps, max_epochs=-1, precision="bf16-mixed", callbacks=[check]
    )
    trainer.fit(module, data)
    assert check.steps == steps
    scores = trainer.validate(module, data, verbose=False)[0]
    assert all(torch.tensor(value).isfinite() for value in scores.values())


def make_record(id, words, entities, relations=(), **pictures):
    """Return the record of a post.

    Args:
        id: Its id.
        words: Its words.
        entities: (start, end, type) of each entity, in words.
        relations: (head, tail, label) of each relation; head and tail are indices of entities.
        **pictures: ``image`` and ``crops``.
    """
    spans = [{"start": start, "end": end, "type": name} for start, end, name in entities]
    pairs = []
    for head, tail, label in relations:
        pairs.append({"head": spans[head], "tail": spans[tail], "label": label})
    return {"id": str(id), "words": words, "entities": spans, "relations": pairs, **pictures}


def odd_records(pictures):
    """Return records of odd posts.

    They have one word, no entity, words without subwords, far too many words, or entities beyond
    the words that are read. Some have the pictures.
    """
    at, none = "/per/loc/at", "None"
    entities = [(0, 1, "PER"), (1, 2, "LOC")]
    beyond_the_limit = [(0, 1, "PER"), (290, 295, "LOC")]
    reversed_beyond = [(280, 300, "LOC"), (250, 260, "PER")]
    two_words = ["Jordan", "Phoenix"]
    without_subwords = ["\ufe0f", "\u200b"]
    return [
        make_record(1, ["Jordan"], [(0, 1, "PER")], **pictures),
        make_record(2, LONG_TEXT, beyond_the_limit, [(0, 1, at), (1, 0, none)], **pictures),
        make_record(3, LONG_TEXT, reversed_beyond, [(1, 0, at)]),
        make_record(4, two_words, entities, [(0, 1, at), (0, 0, none)], **pictures),
        make_record(5, ["\ufe0f"], [(0, 1, "PER")]),
        make_record(6, without_subwords, entities, [(0, 1, none)], **pictures),
        make_record(7, ["x" * 5000, "Phoenix"], entities, [(0, 1, at)]),
        make_record(8, ["no", "entity", "here"], []),
    ]


@pytest.fixture(scope="module", params=["pictures", "none"])
def odd_corpus(request, demo_root, tmp_path_factory):
    """Corpus of odd posts, whose evaluation has a type and a label that training lacks."""
    folder = tmp_path_factory.mktemp("odd")
    shutil.copytree(demo_root / "encoder", folder / "encoder")
    (folder / "images").mkdir()
    pictures = {}
    if request.param == "pictures":
        image = read_jsonl(demo_root / "train.jsonl")[0]["image"]
        pictures = {"image": str((demo_root / image).relative_to(demo_root))}
        (folder / pictures["image"]).write_bytes((demo_root / image).read_bytes())
    unknown = make_record(
        9,
        ["Jordan", "sings", "Unheard"],
        [(0, 1, "PER"), (2, 3, "SONG")],
        [(0, 1, "/per/song/sings")],
    )
    write_jsonl(folder / "train.jsonl", odd_records(pictures))
    write_jsonl(folder / "valid.jsonl", [*odd_records(pictures), unknown])
    write_jsonl(folder / "test.jsonl", [unknown])
    return folder


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("task", TASKS)
def test_methods_train_and_predict_on_odd_posts(odd_corpus, task, size, rounds, tmp_path):
    others = [name for name in METHODS if name not in ("rap", "hvpnet_reference")]
    names = ["rap", *others]
    for name in names[: rounds(1, len(names))]:
        run_dir = tmp_path / name
        options = [
            *tiny_options(name, odd_corpus, run_dir),
            f"--data.task={task}",
            f"--data.batch_size={size}",
            "--data.max_tokens=32",
        ]
        succeed("fit", *options, "--trainer.precision=bf16-mixed", "--trainer.max_epochs=2")
        for epoch in metrics(run_dir)["fit"]["epochs"]:
            assert torch.tensor(list(epoch.values())).isfinite().all(), name
        succeed("test", *options)
        (line,) = predictions(run_dir)
        assert (line["id"], line["words"]) == ("9", ["Jordan", "sings", "Unheard"])
        recall = metrics(run_dir)["test"]["test/recall"]
        assert recall < 1, "gold of a type that training lacks counts, and is never found"
