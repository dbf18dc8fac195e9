"""Facts of a fit and a test in ``metrics.json``."""

import shlex
import shutil
import warnings

import pytest
import torch
from helpers.command import metrics, run, succeed
from helpers.fitted_runs import EPOCHS, fit_options

from mmie.blocks.text_encoder import TextEncoder
from mmie.methods import TextOnly
from mmie.training.facts import encoder_digests
from mmie.utils.devices import describe_hardware
from mmie.utils.files import digest_file
from mmie.utils.version import VERSION


def test_a_test_records_checkpoint_split_and_version(fitted_run, demo_root):
    succeed("test", *fit_options(demo_root, fitted_run))
    sections = metrics(fitted_run)
    test = sections["test"]
    assert test["checkpoint_sha256"] == digest_file(fitted_run / "best.ckpt")
    assert test["split_sha256"] == sections["run"]["corpus"]["test"]
    assert set(sections["run"]["corpus"]) == {"train", "valid", "test"}
    assert test["version"] == sections["run"]["version"] == VERSION
    assert "limit_batches" not in test
    hardware = describe_hardware(torch.device("cpu"))
    assert test["hardware"] == sections["run"]["hardware"] == hardware
    (test_command,), (fit_command,) = test["commands"], sections["run"]["commands"]
    assert test_command == shlex.join(["mmie", "test", *fit_options(demo_root, fitted_run)])
    assert fit_command.startswith("mmie fit --config")
    succeed("test", *fit_options(demo_root, fitted_run), "--trainer.limit_test_batches=1")
    assert metrics(fitted_run)["test"]["limit_batches"] == 1


def test_digests_of_encoders_leave_out_added_words(tiny_bert, demo_data, tmp_path):
    TextEncoder(tiny_bert, pretrained=False).model.save_pretrained(tmp_path)
    schema = demo_data("ner", tiny_bert).schema
    digests = []
    for vocab_size in (schema.vocab_size, schema.vocab_size + 3):
        method = TextOnly(schema, text_encoder=str(tiny_bert), pretrained=False)
        method.text = TextEncoder(tmp_path, pretrained=True, vocab_size=vocab_size)
        assert encoder_digests(method) == {}, "a method with random weights"
        method.pretrained = True
        digests.append(method.text.identity()["weights"])
        assert set(encoder_digests(method)) == {"text"}
    assert digests[0] == digests[1]
    with_other_weights = TextEncoder(tmp_path, pretrained=True)
    next(with_other_weights.parameters()).data.add_(1)
    assert with_other_weights.identity()["weights"] != digests[0]


@pytest.mark.slow
def test_a_test_names_a_changed_corpus_and_encoder(demo_root, tmp_path):
    root = shutil.copytree(demo_root, tmp_path / "corpus")
    options = fit_options(root, tmp_path / "run")
    succeed("fit", *options)
    with warnings.catch_warnings(record=True) as caught:
        succeed("test", *options)
    assert not [warning for warning in caught if "is not the one" in str(warning.message)]
    lines = (root / "test.jsonl").read_text().splitlines(keepends=True)
    (root / "test.jsonl").write_text("".join(lines[1:]))
    with pytest.warns(UserWarning, match="the test split is not the one that the fit of"):
        succeed("test", *options)
    compared = succeed("compare", tmp_path / "run", f"--out={tmp_path / 'report'}").out
    assert "was tested on another test split than the one at its fit" in " ".join(compared.split())
    config = root / "encoder" / "config.json"
    config.write_text(config.read_text().replace('"gelu"', '"relu"'))
    outcome = run("test", *options)
    assert outcome.status == 1
    assert "a text encoder of hidden_act gelu, the run has relu" in outcome.err


@pytest.mark.slow
def test_a_continued_fit_names_what_differs_and_refuses_what_has_no_effect(fitted_run, demo_root):
    options = [*fit_options(demo_root, fitted_run), "--ckpt_path=last"]
    before = {file.name: file.read_bytes() for file in fitted_run.iterdir() if file.is_file()}
    for setting in ("model.text_lr=1e-9", "model.weight_decay=0.5"):
        outcome = run("fit", *options, f"--{setting}", "--trainer.max_epochs=9")
        assert outcome.status == 2
        assert f"a continued fit cannot change {setting.partition('=')[0]}" in outcome.err
    after = {file.name: file.read_bytes() for file in fitted_run.iterdir() if file.is_file()}
    assert after == before
    longer = f"--trainer.max_epochs={EPOCHS + 1}"
    outcome = succeed("fit", *options, "--data.batch_size=5", longer)
    assert "other settings than in the fit so far: " in outcome.out
    assert "data.batch_size 5 (was" in outcome.out
    assert f"trainer.max_epochs {EPOCHS + 1} (was {EPOCHS})" in outcome.out
    outcome = run("fit", *options, "--trainer.max_epochs=1")
    assert outcome.status == 2
    assert "You restored a checkpoint with current_epoch" in outcome.err
