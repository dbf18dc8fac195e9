import socket

import pytest
from helpers.methods import build_module, build_trainer
from jsonargparse import Namespace

from mmie.app.limits import Limits
from mmie.checkpoints import CheckpointError
from mmie.cli.parsing import UsageError
from mmie.cli.serve import _serve_parser, build_extractor, serve_command
from mmie.grounding.ground import Cropper
from mmie.methods import HVPNet


@pytest.fixture(scope="module")
def checkpoints(demo_data, tiny_bert, tmp_path_factory):
    """An untrained checkpoint for each task."""
    files = {}
    for task in ("ner", "re"):
        files[task] = tmp_path_factory.mktemp("run") / f"{task}.ckpt"
        data = demo_data(task, tiny_bert)
        trainer = build_trainer(files[task].parent, max_steps=0)
        trainer.fit(
            build_module(HVPNet, data.schema, tiny_bert, vision_backbone="test_resnet"),
            datamodule=data,
        )
        trainer.save_checkpoint(files[task])
    return {task: str(file) for task, file in files.items()}


def settings(*line: str) -> Namespace:
    parser = _serve_parser()
    return parser.instantiate(parser.parse_args(list(line)))


def test_two_checkpoints_and_a_detector_make_an_extractor(checkpoints):
    extractor = build_extractor(
        settings(
            "--ner",
            checkpoints["ner"],
            "--re",
            checkpoints["re"],
            "--detector",
            "center",
            "--device",
            "cpu",
        )
    )
    assert extractor.ner is not None
    assert extractor.re is not None
    assert isinstance(extractor.cropper, Cropper)
    assert extractor.cropper.num_crops == 3


def test_without_a_detector_no_crops_are_cut(checkpoints):
    extractor = build_extractor(settings("--ner", checkpoints["ner"], "--device", "cpu"))
    assert (extractor.re, extractor.cropper) == (None, None)


def test_a_checkpoint_of_the_other_task_is_refused(checkpoints):
    with pytest.raises(CheckpointError, match="is of the task re: expected one of ner"):
        build_extractor(settings("--ner", checkpoints["re"], "--device", "cpu"))


def test_limits_are_options():
    chosen = settings(
        "--ner", "a.ckpt", "--limits.max_posts", "3", "--limits.answer_seconds", "1.5"
    )
    assert chosen.limits == Limits(max_posts=3, answer_seconds=1.5)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ([], "ner: given neither on the line nor by --config|ner"),
        (
            ["--ner", "a.ckpt", "--limits.max_posts", "0"],
            r"limits\.max_posts is 0: expected more than 0",
        ),
        (["--ner", "a.ckpt", "--port", "99999"], "cannot listen on 127.0.0.1 port 99999"),
        (["--ner", "a.ckpt", "--host", "no such host"], "cannot listen on no such host"),
    ],
)
def test_a_wrong_option_is_one_line(line, message):
    with pytest.raises(UsageError, match=message) as caught:
        serve_command(line)
    assert "\n" not in str(caught.value)


def test_a_taken_port_is_said_before_anything_is_loaded():
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        pytest.raises(UsageError, match="name others with --host"),
    ):
        serve_command(["--ner", "no such file", "--port", str(other.getsockname()[1])])


def test_a_file_that_is_no_checkpoint_is_said(tmp_path):
    file = tmp_path / "a.ckpt"
    file.write_bytes(b"hello")
    with pytest.raises(CheckpointError):
        serve_command(["--ner", str(file), "--port", "0"])
