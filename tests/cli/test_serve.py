"""``mmie serve``: options, and errors before anything is loaded."""

import socket

import pytest
from jsonargparse import Namespace

from mmie.app.limits import Limits
from mmie.checkpoints import CheckpointError
from mmie.cli.extractors import ExtractorSettings, build_extractor
from mmie.cli.parsing import UsageError
from mmie.cli.serve import _serve_parser, allowed_hosts, extractor_options, serve_command
from mmie.inference.result_options import ResultOptions


def parse(*line: object) -> Namespace:
    parser = _serve_parser()
    return parser.instantiate(parser.parse_args(list(map(str, line))))


def test_options_of_the_extractor(random_pair):
    settings = parse(
        *("--ner", random_pair["ner"], "--re", random_pair["re"]),
        *("--detector", "center", "--device", "cpu", "--limits.batch_size", 4),
    )
    options = extractor_options(settings)
    assert options == ExtractorSettings(
        str(random_pair["ner"]), str(random_pair["re"]), "cpu", "center", batch_size=4
    )
    assert build_extractor(options).cropper.num_crops == 3, "as many as the methods read"


def test_defaults_of_the_extractor():
    assert extractor_options(parse("--ner", "a.ckpt")) == ExtractorSettings("a.ckpt")


def test_options_of_results():
    options = ("--long", "error", "--min_probability", 0.5, "--relation_types", "labels")
    settings = parse("--ner", "a.ckpt", *options, "--min_relation_probability", 0.7)
    assert extractor_options(settings).results == ResultOptions("error", 0.5, 0.7, "labels")


def test_limits_are_options():
    settings = parse("--ner", "a.ckpt", "--limits.max_posts", 3, "--limits.answer_seconds", 1.5)
    assert settings.limits == Limits(max_posts=3, answer_seconds=1.5)


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
def test_wrong_option_is_one_line(line, message):
    with pytest.raises(UsageError, match=message) as error:
        serve_command(line)
    assert "\n" not in str(error.value)


def test_port_in_use_is_reported_before_anything_is_loaded():
    with (
        socket.create_server(("127.0.0.1", 0)) as other,
        pytest.raises(UsageError, match="name others with --host"),
    ):
        serve_command(["--ner", "no such file", "--port", str(other.getsockname()[1])])


def test_file_that_is_no_checkpoint_is_refused(tmp_path):
    file = tmp_path / "a.ckpt"
    file.write_bytes(b"hello")
    with pytest.raises(CheckpointError):
        serve_command(["--ner", str(file), "--port", "0"])


@pytest.mark.parametrize("name", ["http://a", "a:8000", "a*", "*a", "*.", "", "a b", "a/b"])
def test_wrong_name_of_a_host_is_one_line(name):
    with pytest.raises(UsageError, match=r"--allowed_hosts: .* is no name of a host") as error:
        serve_command(["--ner", "a.ckpt", "--allowed_hosts", "b", name])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("line", "address", "allowed", "refused"),
    [
        ([], "127.0.0.1", ["localhost", "127.0.0.1"], ["*", "a.example"]),
        (["--host", "::1"], "::1", ["[::1]"], ["*"]),
        (["--host", "0.0.0.0"], "0.0.0.0", ["*"], []),
        (["--allowed_hosts", "a.example", "*.b"], "127.0.0.1", ["a.example", "*.b"], ["*"]),
        (
            ["--host", "0.0.0.0", "--allowed_hosts", "a.example"],
            "0.0.0.0",
            ["a.example", "localhost"],
            ["*"],
        ),
    ],
)
def test_names_of_the_server(line, address, allowed, refused):
    names = allowed_hosts(parse("--ner", "a.ckpt", *line), address)
    assert set(allowed) <= set(names)
    assert not set(refused) & set(names)
