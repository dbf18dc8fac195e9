"""No number goes wrong: long fits in bf16, and posts that are odd in every way the data can be."""

import shutil

import pytest
import torch
from helpers.command import metrics, predictions, read_jsonl, succeed, tiny_options, write_jsonl
from helpers.methods import build_data, build_module, build_trainer, instance_without_views
from lightning.pytorch import Callback
from test_contract import METHODS, TASKS

pytestmark = pytest.mark.filterwarnings("ignore")
LONG = " ".join(f"word{number}" for number in range(300)).split()


def values_of(gradient):
    """All of a gradient, or what a sparse one holds."""
    return gradient.coalesce().values() if gradient.is_sparse else gradient


class Finite(Callback):
    """Stops at the first loss, gradient or weight that is no number."""

    def __init__(self) -> None:
        self.steps = 0

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        gradients = {name: p.grad for name, p in pl_module.named_parameters() if p.grad is not None}
        wrong = [
            name for name, gradient in gradients.items() if not values_of(gradient).isfinite().all()
        ]
        assert wrong == [], f"gradients of step {trainer.global_step}"

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        assert outputs["loss"].isfinite(), f"loss of step {trainer.global_step}"
        self.steps += 1

    def on_train_end(self, trainer, pl_module):
        assert all(value.isfinite().all() for value in pl_module.state_dict().values())


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", METHODS)
def test_a_long_fit_in_bf16_has_no_nan(name, task, rounds, demo_root, tmp_path, request):
    case = METHODS[name]
    encoder = request.getfixturevalue(case.encoder)
    data = build_data(demo_root, task, encoder)
    train = data.instances["train"]
    train[::3] = map(instance_without_views, train[::3])
    data.instances["train"] = train[: rounds(8, len(train))]
    module = build_module(
        case.method, data.schema, encoder, **case.arguments, text_lr=2e-3, fusion_lr=2e-3
    )
    finite, steps = Finite(), rounds(3, 2000)
    trainer = build_trainer(
        tmp_path, max_steps=steps, max_epochs=-1, precision="bf16-mixed", callbacks=[finite]
    )
    trainer.fit(module, data)
    assert finite.steps == steps
    scores = trainer.validate(module, data, verbose=False)[0]
    assert all(torch.tensor(value).isfinite() for value in scores.values())


def post(number, words, entities, relations=(), **pictures):
    """A line of a corpus; entities and relations are of word numbers, types and labels."""
    spans = [{"start": start, "end": end, "type": kind} for start, end, kind in entities]
    pairs = [
        {"head": spans[head], "tail": spans[tail], "label": label}
        for head, tail, label in relations
    ]
    return {"id": str(number), "words": words, "entities": spans, "relations": pairs, **pictures}


def odd_posts(pictures):
    """Posts that are odd: one word, far too long, entities beyond the cut, words without subwords, no entity."""
    both = [(0, 1, "PER"), (1, 2, "LOC")]
    return [
        post(1, ["Jordan"], [(0, 1, "PER")], **pictures),
        post(
            2,
            LONG,
            [(0, 1, "PER"), (290, 295, "LOC")],
            [(0, 1, "/per/loc/at"), (1, 0, "None")],
            **pictures,
        ),
        post(3, LONG, [(280, 300, "LOC"), (250, 260, "PER")], [(1, 0, "/per/loc/at")]),
        post(4, ["Jordan", "Phoenix"], both, [(0, 1, "/per/loc/at"), (0, 0, "None")], **pictures),
        post(5, ["\ufe0f"], [(0, 1, "PER")]),
        post(6, ["\ufe0f", "\u200b"], both, [(0, 1, "None")], **pictures),
        post(7, ["x" * 5000, "Phoenix"], both, [(0, 1, "/per/loc/at")]),
        post(8, ["no", "entity", "here"], []),
    ]


@pytest.fixture(scope="module", params=["pictures", "none"])
def odd_corpus(request, demo_root, tmp_path_factory):
    """A corpus of odd posts alone; evaluation has a type and a label that training lacks."""
    folder = tmp_path_factory.mktemp("odd")
    some = read_jsonl(demo_root / "train.jsonl")[0] if request.param == "pictures" else {}
    pictures = {"image": str((demo_root / some["image"]).relative_to(demo_root))} if some else {}
    shutil.copytree(demo_root / "encoder", folder / "encoder")
    (folder / "images").mkdir()
    for image in pictures.values():
        (folder / image).write_bytes((demo_root / image).read_bytes())
    new = post(
        9,
        ["Jordan", "sings", "Unheard"],
        [(0, 1, "PER"), (2, 3, "SONG")],
        [(0, 1, "/per/song/sings")],
    )
    for split, posts in (
        ("train", odd_posts(pictures)),
        ("valid", [*odd_posts(pictures), new]),
        ("test", [new]),
    ):
        write_jsonl(folder / f"{split}.jsonl", posts)
    return folder


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("task", TASKS)
def test_odd_posts_are_trained_on_scored_and_answered(odd_corpus, task, size, rounds, tmp_path):
    names = [name for name in METHODS if name != "hvpnet_reference"]
    for name in ["rap", *[other for other in names if other != "rap"]][: rounds(1, len(names))]:
        options = [
            *tiny_options(name, odd_corpus, tmp_path / name),
            f"--data.task={task}",
            f"--data.batch_size={size}",
        ]
        succeed(
            "fit",
            *options,
            "--trainer.precision=bf16-mixed",
            "--trainer.max_epochs=2",
            "--data.max_tokens=32",
        )
        epochs = metrics(tmp_path / name)["fit"]["epochs"]
        assert all(torch.tensor(list(epoch.values())).isfinite().all() for epoch in epochs), name
        succeed("test", *options, "--data.max_tokens=32")
        (line,) = predictions(tmp_path / name)
        assert (line["id"], line["words"]) == ("9", ["Jordan", "sings", "Unheard"])
        scores = metrics(tmp_path / name)["test"]
        assert scores["test/recall"] < 1, (
            "gold of a type that training lacks counts, and is never found"
        )
