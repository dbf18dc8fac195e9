"""Wrong settings that are reported before libraries are imported, and right ones that pass."""

import pytest
from helpers.paths import CONFIGS

from mmie.cli.arguments import prepare_arguments
from mmie.cli.options import all_command_options, class_arguments
from mmie.cli.setting_checks import check_settings
from mmie.cli.usage import UsageError

RAP = ["--config", str(CONFIGS / "rap_mnre.yaml")]

MISTAKES = {
    "number": ([*RAP, "--trainer.max_epochs", "three"], "trainer.max_epochs: expected int"),
    "boolean": ([*RAP, "--overwrite=ja"], "overwrite: expected bool, got ja"),
    "choice": ([*RAP, "--data.task=nerr"], "data.task: expected one of ner, re, got nerr"),
    "class": (["--model=RAPP"], "model: expected one of"),
    "class of the package": (["--data.corpus", "mmie.data.Twitter2018"], "did you mean 'Twitter2"),
    "argument": ([*RAP, "--model.text_lrr=1"], "RAP has no 'text_lrr', did you mean 'text_lr'?"),
    "argument of init_args": ([*RAP, "--model.init_args.text_lrr=1"], "RAP has no 'text_lrr'"),
    "type of an argument": ([*RAP, "--model.text_lr=fast"], "model.text_lr: expected float"),
    "argument of a corpus": ([*RAP, "--data.corpus.roott=x"], "did you mean 'root'?"),
}


@pytest.mark.parametrize(("arguments", "part"), MISTAKES.values(), ids=MISTAKES)
def test_a_wrong_setting_is_named(arguments, part):
    with pytest.raises(UsageError, match=r".+") as caught:
        check_settings("fit", prepare_arguments("fit", ["--print_config", *arguments]))
    assert part in str(caught.value)


FILES = {
    "section": ("modell: {}", "unknown key 'modell', did you mean 'model'?"),
    "key": ("data: {batch: 3}", "unknown key 'data.batch'"),
    "type": ("data: {batch_size: many}", "data.batch_size: expected int, got many"),
    "class": ("model: {class_path: mmie.methods.Rap2}", "did you mean 'RAP'?"),
    "argument": (
        "model: {class_path: mmie.methods.RAP, init_args: {text_lrr: 1}}",
        "unknown key 'model.text_lrr': RAP has no 'text_lrr'",
    ),
    "argument of a short name": ("model: {class_path: RAP, init_args: {a: 1}}", "RAP has no 'a'"),
}


@pytest.mark.parametrize(("text", "part"), FILES.values(), ids=FILES)
def test_a_wrong_setting_of_a_file_is_named_with_it(tmp_path, text, part):
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(UsageError, match=r"mine\.yaml: ") as caught:
        check_settings("fit", ["--config", str(file)])
    assert part in str(caught.value)


@pytest.mark.parametrize("file", sorted(CONFIGS.rglob("*.yaml")), ids=lambda file: file.stem)
def test_every_configuration_passes(file):
    for command in ("fit", "test", "benchmark"):
        check_settings(command, ["--config", str(file)])


@pytest.mark.parametrize(
    "arguments",
    [
        [*RAP, "--model=HVPNet", "--model.prefix_length=3"],  # arguments of the later class
        ["--model", "my_package.Mine", "--model.anything=3"],
        ["--model.help", "RAPP"],
        [*RAP, "--model.text_lr", "1e-3", "--trainer.max_epochs=null", "--overwrite=True"],
        [*RAP, "--trainer.callbacks+=mine.Callback", "--trainer.callbacks.patience=3"],
        [*RAP, "--trainer.limit_train_batches=0.5", "--trainer.devices=auto"],
        ["--config={model: {class_path: RAPP}}"],
        ["--config", "no_such_file.yaml"],
    ],
    ids=str,
)
def test_what_may_be_right_is_left_to_the_parser(arguments):
    check_settings("fit", arguments)


def test_classes_of_imported_modules_are_left_to_the_parser():
    check_settings("fit", ["--model=RAPP"], ["my_package"])


def test_other_commands_are_left_to_their_parsers():
    check_settings("compare", ["runs", "--anything=x"])


def test_the_table_has_the_arguments_of_every_class():
    for option in all_command_options()["fit"].options:
        for path in option.classes.values():
            assert class_arguments(path) is not None
    assert class_arguments("mmie.methods.RAP")["text_lr"] == "float"
    assert class_arguments("my_package.Mine") is None
