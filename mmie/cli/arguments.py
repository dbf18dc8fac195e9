"""Check and complete a command line before the command and its libraries are imported.

What is certainly wrong is reported at once: unknown options, configurations that do not exist, a
run folder that would be overwritten. Everything else is left to the command's own parser. Names of
configurations are replaced by their files, and names of classes by their import paths.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from mmie.cli.options import CommandOptions, Option, command_options
from mmie.cli.usage import UsageError
from mmie.utils.configurations import (
    SUFFIX,
    ConfigurationNotFound,
    find_configuration,
    named_configuration,
)
from mmie.utils.files import read_yaml
from mmie.utils.text import did_you_mean, fold_name

RUN_COMMANDS = ("fit", "validate", "test", "predict")
_CONFIGURATIONS = frozenset({"--config", "--against", "--pretraining"})
"""Options whose value is a configuration."""
_NOT_RUN = frozenset({"--help", "--print_config"})
"""Options with which nothing is run."""
_IS_TEXT = re.compile(r"[{}\n]|: |://|^-$")
"""What tells settings that are written on the command line, or an address, from a file."""
_CLASS_NAME = re.compile(r"[A-Za-z][\w-]*")


def split_option(arguments: Sequence[str], flag: str) -> tuple[list[str], list[str]]:
    """Separate the values of an option, "" for one that is missing, from the other arguments.

    >>> split_option(["a", "--x", "1", "--y=2", "--x=3", "--x"], "--x")
    (['1', '3', ''], ['a', '--y=2'])
    """
    values, others = [], []
    remaining = iter(arguments)
    for argument in remaining:
        name, has_value, value = argument.partition("=")
        if name == flag:
            values.append(value if has_value else next(remaining, ""))
        else:
            others.append(argument)
    return values, others


@dataclass(frozen=True, slots=True)
class Given:
    """Option with its values, or a word that belongs to no option, on a command line.

    Attributes:
        flag: Name of the option; empty for a word.
        values: Values of the option, or the word.
        is_joined: Whether the value follows the name after ``=``.
        option: The option; None for a word, and for an option that the table does not have.
    """

    flag: str
    values: tuple[str, ...] = ()
    is_joined: bool = False
    option: Option | None = None

    @property
    def words(self) -> list[str]:
        """Words on the command line."""
        if self.is_joined:
            return [f"{self.flag}={self.values[0]}"]
        return [self.flag, *self.values] if self.flag else list(self.values)


def prepare_arguments(command: str, arguments: Sequence[str]) -> list[str]:
    """Check the arguments of a command and complete the names among them.

    Args:
        command: Name of the command.
        arguments: Arguments after the command's name.

    Returns:
        The arguments with the files of named configurations and the paths of named classes.

    Raises:
        UsageError: An option, a subcommand or a configuration is unknown, or a value is missing.
        RunFolderError: The run folder would be overwritten, or lacks the checkpoint.
    """
    options, rest = command_options(command, arguments)
    if options.purposes:
        _check_subcommand(options, rest)
    given = [_complete(item) for item in split_arguments(options, rest)]
    for item in given:
        if item.flag not in ("", "--") and item.option is None and options.is_unknown(item.flag):
            raise UsageError(_describe_unknown(options, item.flag))
    if command in RUN_COMMANDS:
        _check_run(command, given)
    words = [word for item in given for word in item.words]
    return [*arguments[: len(arguments) - len(rest)], *words]


def complete_flags(arguments: Sequence[str]) -> list[str]:
    """Give a bare ``--wandb`` an empty value, which asks for its default settings.

    >>> complete_flags(["compare", "--wandb", "runs"])
    ['compare', '--wandb={}', 'runs']
    >>> complete_flags(["fit", "--wandb", "{project: mine}"])
    ['fit', '--wandb', '{project: mine}']
    """
    completed = []
    for argument, following in zip(arguments, [*arguments[1:], ""], strict=True):
        has_value = re.match(r"\{|null$", following)
        is_bare = argument == "--wandb" and not has_value
        completed.append("--wandb={}" if is_bare else argument)
    return completed


def split_arguments(options: CommandOptions, arguments: Sequence[str]) -> list[Given]:
    """Divide a command line into options with their values and other words.

    Args:
        options: Options of the command.
        arguments: Its arguments.

    Raises:
        UsageError: An option that takes a value has none.
    """
    given: list[Given] = []
    words = list(arguments)
    while words:
        word = words.pop(0)
        if word == "--":
            given.append(Given("--", tuple(words)))
            break
        if not _is_flag(word):
            given.append(Given("", (word,)))
            continue
        flag, equals, value = word.partition("=")
        option = options.find(flag)
        if equals:
            given.append(Given(flag, (value,), True, option))
            continue
        if not flag.startswith("--") and len(flag) > 2 and option is None:  # -oFILE
            option = options.find(flag[:2])
            if option is not None:
                given.append(Given(word, (), False, option))
                continue
        given.append(Given(flag, tuple(_take_values(flag, option, words)), False, option))
    return given


def _take_values(flag: str, option: Option | None, words: list[str]) -> list[str]:
    """Remove the values of an option from the words that follow it, and return them.

    Raises:
        UsageError: The option takes one value and has none.
    """
    values: list[str] = []
    nargs = "?" if option is None else option.nargs
    most = {"0": 0, "1": 1, "?": 1}.get(nargs, len(words))
    while words and len(values) < most and not _is_flag(words[0]):
        values.append(words.pop(0))
    if nargs == "1" and not values:
        raise UsageError(f"{flag}: expected one argument")
    return values


def _is_flag(word: str) -> bool:
    """Tell whether a word is the name of an option, as argparse sees it."""
    return re.match(r"--$|--\w[^\s=]*(=|$)|-[A-Za-z]", word) is not None


def _check_subcommand(options: CommandOptions, arguments: Sequence[str]) -> None:
    """Raise if the first argument names no subcommand.

    Raises:
        UsageError: No subcommand is named, or an unknown one.
    """
    if arguments and arguments[0].startswith("-"):
        return
    expected = f"expected one of {', '.join(options.purposes)}"
    if not arguments:
        raise UsageError(f"mmie {options.name} needs a subcommand: {expected}")
    hint = did_you_mean(arguments[0], options.purposes)
    raise UsageError(
        f"unknown subcommand '{arguments[0]}' of mmie {options.name}: {expected}{hint}"
    )


def _describe_unknown(options: CommandOptions, flag: str) -> str:
    """Describe an unknown option, and name the one that is most like it."""
    known = options.by_flag
    same_end = [name for name in known if name.rpartition(".")[2] == flag.lstrip("-")]
    hint = f", did you mean '{same_end[0]}'?" if same_end else did_you_mean(flag, known)
    subject = f"mmie {options.name} has no option {flag}"
    where = f"mmie {options.name} --help"
    return f"{subject}{hint} See {where}" if hint else f"{subject}: see {where}"


def _complete(given: Given) -> Given:
    """Replace the name of a configuration by its file, and that of a class by its import path.

    Raises:
        UsageError: A configuration does not exist.
    """
    if given.option is None or len(given.values) != 1:
        return given
    value = given.values[0]
    if _CONFIGURATIONS & set(given.option.flags) and not _IS_TEXT.search(value):
        try:
            return replace(given, values=(str(find_configuration(value)),))
        except ConfigurationNotFound as error:
            raise UsageError(f"{given.flag}: {error}") from error
    is_class = given.flag in given.option.flags or given.flag.endswith(".class_path")
    if is_class and given.option.classes and _CLASS_NAME.fullmatch(value):
        for name, path in given.option.classes.items():
            if fold_name(name) == fold_name(value):
                return replace(given, values=(path,))
    return given


def _check_run(command: str, given: Sequence[Given]) -> None:
    """Check the words and the run folder of ``fit``, ``validate``, ``test`` or ``predict``.

    Raises:
        UsageError: Nothing is given, or a word that belongs to no option.
        RunFolderError: The run folder would be overwritten, or lacks the checkpoint.
    """
    words = [item.values[0] for item in given if item.flag == ""]
    for word in words:
        _check_word(command, word)
    if not given:
        raise UsageError(
            f"mmie {command} needs a corpus, a task and a method (data.corpus, data.task, model): "
            f"name a configuration, such as mmie {command} --config demo_hvpnet"
        )
    is_run = not words and not any(item.flag in _NOT_RUN for item in given)
    settings = _folder_settings(given) if is_run else None
    if settings is None:
        return
    from mmie.runs.folder import best_checkpoint, check_free, own_checkpoint

    folder, checkpoint = Path(settings["run_dir"]), settings["ckpt_path"]
    with suppress(OSError):  # a path that cannot be read, which the parser reports
        if checkpoint in ("best", "last"):
            checkpoint = own_checkpoint(folder, checkpoint)
        if command == "fit":
            check_free(folder, settings["overwrite"], checkpoint)
        elif checkpoint is None:
            best_checkpoint(folder)


def _check_word(command: str, word: str) -> None:
    """Raise if a word that belongs to no option cannot be what the command takes.

    Raises:
        UsageError: The word is a configuration, or the command takes no such word.
    """
    is_file = word.endswith((SUFFIX, ".yml"))
    if is_file or (named_configuration(word) is not None and not Path(word).is_dir()):
        raise UsageError(
            f"'{word}' belongs to no option: a configuration is given as mmie {command} "
            f"--config {word}"
        )
    if command == "fit":
        raise UsageError(
            f"'{word}' belongs to no option of mmie fit: a configuration is given with --config, "
            "a run folder with --run_dir"
        )


def _folder_settings(given: Sequence[Given]) -> dict[str, Any] | None:
    """Find the settings that decide about the run folder, as the command's parser would.

    Later configurations and options override earlier ones.

    Returns:
        Run folder, whether it may be overwritten, and checkpoint; None where only the parser can
        tell.
    """
    settings: dict[str, Any] = {"run_dir": "runs/default", "overwrite": False, "ckpt_path": None}
    for item in given:
        name = item.flag.lstrip("-")
        try:
            if item.option is not None and "--config" in item.option.flags:
                content = read_yaml(Path(item.values[0]))
                settings.update((key, content[key]) for key in settings if key in content)
            elif name in settings:
                value = item.values[0]
                settings[name] = value if name == "run_dir" else yaml.safe_load(value)
        except (OSError, ValueError, TypeError, yaml.YAMLError):
            return None
    types = (isinstance(settings["run_dir"], str), isinstance(settings["overwrite"], bool))
    is_path = isinstance(settings["ckpt_path"], str | None)
    return settings if all(types) and is_path else None
