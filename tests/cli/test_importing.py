"""``mmie import`` on state dicts of the public layout with random weights."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from helpers.command import check_refused, run, succeed, tiny_options
from helpers.corpora import post_record, write_own_corpus

from mmie.checkpoints import read_checkpoint
from mmie.checkpoints.public import PUBLIC_RELATIONS, PUBLIC_TAGS
from mmie.cli.lightning import build_parts
from mmie.data.encoding import WordTokenizer
from mmie.methods import HVPNet
from mmie.methods.loading import load_method

pytestmark = pytest.mark.slow

BACKBONE = "resnet18"


@pytest.fixture(scope="module")
def options(demo_root, tmp_path_factory):
    """Function that returns the options of a configuration for a task, with MNRE's relations."""
    corpus = write_corpus(tmp_path_factory.mktemp("corpus") / "corpus")

    def build(task, method="hvpnet"):
        options = tiny_options(method, corpus, corpus / "run", demo_root / "encoder")
        return [
            *(option for option in options if not option.startswith("--run_dir")),
            f"--data.task={task}",
            f"--model.init_args.vision_backbone={BACKBONE}",
            "--data.image_size=64",
        ]

    return build


def write_corpus(folder):
    """Write a corpus with the public codes' types, and two of their relations in another order."""
    records = []
    for number, label in enumerate(("/per/loc/place_of_birth", "/per/per/peer", "None")):
        record = post_record(number, "train")
        entity, other = (
            {"start": 0, "end": 1, "type": "PER"},
            {"start": 1, "end": 2, "type": "LOC"},
        )
        record.update(words=["Jordan", "Paris", "now"], entities=[entity, other])
        record["relations"] = [{"head": entity, "tail": other, "label": label}]
        records.append(record)
    write_own_corpus(folder, train=records, valid=records, test=records)
    return folder


def public_state_dict(method, task, num_added):
    """Draw a state dict of the public layout, with the sizes of a method's encoders."""
    renamed = {"text.model.": "bert.", "vision.model.": "image_model.resnet.", "visual_prefix.": ""}
    shapes = {}
    for name, value in method.state_dict().items():
        for own, public in renamed.items():
            if name.startswith(own):
                shapes[public + name.removeprefix(own)] = value.shape
    hidden = method.text.hidden_size
    shapes["bert.embeddings.word_embeddings.weight"] = (20 + num_added, hidden)
    shapes["bert.pooler.dense.weight"] = (hidden, hidden)
    shapes["image_model.resnet.fc.weight"] = (1000, 512)
    if task == "ner":
        tags = len(PUBLIC_TAGS)
        shapes |= {"fc.weight": (tags, hidden), "fc.bias": (tags,)}
        shapes |= {f"crf.{end}_transitions": (tags,) for end in ("start", "end")}
        shapes["crf.transitions"] = (tags, tags)
    else:
        shapes["classifier.weight"] = (len(PUBLIC_RELATIONS), 2 * hidden)
        shapes["classifier.bias"] = (len(PUBLIC_RELATIONS),)
    generator = torch.Generator().manual_seed(0)
    return {name: 0.02 * torch.rand(shape, generator=generator) for name, shape in shapes.items()}


@dataclass
class Import:
    """Public weights, and what ``mmie import`` made of them."""

    task: str
    public: dict[str, torch.Tensor]
    public_file: Path
    checkpoint: Path
    out: str


@pytest.fixture(scope="module", params=["ner", "re"])
def imported(request, options, tmp_path_factory):
    task, folder = request.param, tmp_path_factory.mktemp("import")
    overrides = ["--model.init_args.variant=reference", "--model.init_args.pretrained=false"]
    method = build_parts([*options(task), *overrides]).model
    public = public_state_dict(method, task, num_added=4 if task == "re" else 0)
    public_file, checkpoint = folder / "public.pth", folder / "run.ckpt"
    torch.save(public, public_file)
    outcome = succeed("import", "hvpnet", public_file, f"--out={checkpoint}", *options(task))
    return Import(task, public, public_file, checkpoint, outcome.out)


def test_shared_parts_are_taken_over(imported):
    method = load_method(imported.checkpoint)
    assert (type(method), method.missing_crops) == (HVPNet, "attend")
    own = method.state_dict()
    for public_name, own_name in (
        (
            "bert.encoder.layer.0.output.dense.weight",
            "text.model.encoder.layer.0.output.dense.weight",
        ),
        ("encoder_conv.2.bias", "visual_prefix.encoder_conv.2.bias"),
        ("gates.1.weight", "visual_prefix.gates.1.weight"),
        ("image_model.resnet.layer1.0.bn1.running_mean", "vision.model.layer1.0.bn1.running_mean"),
    ):
        assert torch.equal(own[own_name], imported.public[public_name])
        assert f"{public_name} -> {own_name}\n" in imported.out


def test_rows_of_the_head_are_chosen_by_name(imported):
    method = load_method(imported.checkpoint)
    own, public = method.state_dict(), imported.public
    if imported.task == "re":
        assert method.schema.labels == ("None", "/per/loc/place_of_birth", "/per/per/peer")
        rows = [0, 11, 5]
        assert torch.equal(own["head.classifier.weight"], public["classifier.weight"][rows])
        assert torch.equal(own["head.classifier.bias"], public["classifier.bias"][rows])
        assert "relation /per/loc/place_of_birth: public row 11\n" in imported.out
        return
    rows = [1, 8, 9, 4, 5]  # O, LOC, PER
    transitions = public["crf.transitions"]
    assert torch.equal(own["head.emission.weight"], public["fc.weight"][rows])
    assert torch.equal(own["head.crf.transitions"], transitions[rows][:, rows])
    assert torch.equal(own["head.crf.start_transitions"], transitions[11, rows])  # from [CLS]
    assert torch.equal(own["head.crf.end_transitions"], transitions[rows, 12])  # to [SEP]
    assert "tag B-LOC: public row 8\n" in imported.out
    assert "tag B-ORG: left out" in imported.out


def test_parts_without_use_are_named(imported):
    for name in ("bert.pooler.dense.weight", "image_model.resnet.fc.weight"):
        assert f"{name} left out: " in imported.out


def test_markers_have_the_embeddings_of_the_public_ones(imported):
    checkpoint = read_checkpoint(imported.checkpoint)
    tokenizer = WordTokenizer.from_files(checkpoint.tokenizer)
    own = checkpoint.state_dict["text.model.embeddings.word_embeddings.weight"]
    public = imported.public["bert.embeddings.word_embeddings.weight"]
    if imported.task == "re":
        assert torch.equal(own[tokenizer.marker_ids], public[-4:])
        public = public[:-4]
    words = [row for row in range(len(public)) if row not in tokenizer.marker_ids]
    assert torch.equal(own[words], public[words])


def test_a_test_runs_with_the_checkpoint(imported, options, tmp_path):
    overrides = ["--model.init_args.variant=reference", f"--run_dir={tmp_path}"]
    succeed("test", f"--ckpt_path={imported.checkpoint}", *options(imported.task), *overrides)
    assert len((tmp_path / "predictions.jsonl").read_text().splitlines()) == 3


def test_foreign_files_are_refused_in_one_line(imported, options, tmp_path):
    def import_changed(**changes):
        torch.save({**imported.public, **changes}, tmp_path / "public.pth")
        arguments = [tmp_path / "public.pth", f"--out={tmp_path / 'run.ckpt'}"]
        return run("import", "hvpnet", *arguments, *options(imported.task))

    check_refused(import_changed(other=torch.ones(1)), "other, which neither public code writes")
    check_refused(import_changed(epoch=3), "more than the tensors of a public code: epoch")
    name = "encoder_conv.0.bias"
    check_refused(import_changed(**{name: torch.ones(3)}), "do not fit", name)
    assert not (tmp_path / "run.ckpt").exists()
    other_task = "re" if imported.task == "ner" else "ner"
    arguments = [imported.public_file, f"--out={tmp_path / 'run.ckpt'}"]
    missing = "fc.weight" if other_task == "ner" else "classifier.weight"
    outcome = run("import", "hvpnet", *arguments, *options(other_task))
    check_refused(outcome, f"the weights lack {missing}")
    outcome = run("import", "rsrnet", *arguments, *options(imported.task))
    check_refused(outcome, "the configuration is of HVPNet: name one of RSRNeT")
