"""Reference of every key of a configuration, from the constructors that take them."""

import inspect
from typing import Any

import docstring_parser
from commands import find_parser, is_listed, option_row, show_value, type_name
from tables import markdown_table

import mmie.data
import mmie.methods
from mmie.data import Corpus
from mmie.methods import ExtractionModule, MultimodalModule
from mmie.reports.methods import package_methods

_HEADER = ["key", "type", "default", "meaning"]
_CLASS_HEADER = ["argument", "type", "default", "meaning"]
_FILES = ("config", "data", "model", "trainer")
"""Options that name a file."""
_NOT_SET = ("self", "schema")
"""Arguments that no configuration sets. The command line links the schema from the data."""


def render_page() -> str:
    """Write the page of all keys."""
    actions = find_parser("fit")._actions
    listed = [action for action in actions if is_listed(action)]
    top = [action for action in listed if "." not in action.dest and action.dest not in _FILES]
    sections: dict[str, list[Any]] = {}
    for action in listed:
        section, _, key = action.dest.partition(".")
        if key:
            sections.setdefault(section, []).append(action)
    parts = [
        "# Configuration",
        "A configuration is a YAML file with these keys. Every key is an option as well: "
        "`--data.batch_size 8`, `--model.init_args.prompt_length 8`. A later `--config` overrides "
        "an earlier one, and an option overrides both. This page is made from the constructors "
        "that take the keys.",
        "`mmie fit --config FILE --print_config` prints a configuration with all defaults.",
        "## Top level",
        _table(top),
        "## `data`",
        _table(sections["data"]),
        "### `data.corpus`",
        "`data.corpus.class_path` names one of these classes, or one of your own. Its arguments "
        "stand under `data.corpus.init_args`.",
    ]
    for corpus in _corpora():
        parts += [f"#### {corpus.__name__}", _class_section(corpus, Corpus)]
    parts += [
        "## `model`",
        "`model.class_path` names a method, by its full path or as `NAME` of "
        "`mmie.methods.NAME`. Its arguments stand under `model.init_args`: its own, those of "
        "`ExtractionModule`, and, for a method with a visual backbone, those of "
        "`MultimodalModule`. `mmie methods NAME` prints them as well.",
    ]
    for base in (ExtractionModule, MultimodalModule):
        parts += [f"### {base.__name__}", markdown_table(_CLASS_HEADER, class_rows(base))]
    for method in package_methods():
        section = _class_section(getattr(mmie.methods, method.name), ExtractionModule)
        parts += [f"### {method.name}", section]
    parts += [
        "## `trainer`",
        "The arguments of Lightning's "
        "[Trainer](https://lightning.ai/docs/pytorch/stable/common/trainer.html).",
        _table(sections["trainer"]),
        "## `wandb`",
        "Null by default. `--wandb` alone stands for all defaults.",
        markdown_table(_CLASS_HEADER, class_rows(_wandb_settings())),
    ]
    return "\n\n".join(parts) + "\n"


def class_rows(owner: type) -> list[list[str]]:
    """Return the rows of the arguments that a class's own constructor names."""
    documented = docstring_parser.parse(inspect.cleandoc(owner.__doc__ or ""))
    texts = {entry.arg_name: entry.description or "" for entry in documented.params}
    rows = []
    for name, parameter in inspect.signature(owner.__init__).parameters.items():
        if name in _NOT_SET or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        default = "required"
        if parameter.default is not parameter.empty:
            default = f"`{show_value(parameter.default)}`"
        kind = type_name(parameter.annotation)
        rows.append([f"`{name}`", f"`{kind}`", default, texts.get(name, "")])
    return rows


def _class_section(owner: type, base: type) -> str:
    """Write the arguments of a class, and whose arguments it takes as well."""
    parents = [parent for parent in owner.__mro__[1:] if "__init__" in vars(parent)]
    parents = [parent for parent in parents if issubclass(parent, base)]
    lines = [f"`{_path(owner)}`."]
    if parents:
        names = " and ".join(
            f"[{parent.__name__}](#{parent.__name__.lower()})" for parent in parents
        )
        lines.append(f"It takes the arguments of {names} as well.")
    rows = class_rows(owner) if "__init__" in vars(owner) or not parents else []
    table = markdown_table(_CLASS_HEADER, rows) if rows else ""
    return "\n\n".join([" ".join(lines), table]).rstrip()


def _path(owner: type) -> str:
    """Return the import path of a class, which is its name in a configuration."""
    if issubclass(owner, ExtractionModule):
        return f"mmie.methods.{owner.__name__}"
    is_public = owner.__name__ in mmie.data.__all__
    return f"{'mmie.data' if is_public else owner.__module__}.{owner.__name__}"


def _corpora() -> list[type[Corpus]]:
    """Return the corpora of the package and their base classes, the base classes first."""
    exported = [getattr(mmie.data, name) for name in mmie.data.__all__]
    classes = [entry for entry in exported if inspect.isclass(entry) and issubclass(entry, Corpus)]
    bases = [base for entry in classes for base in reversed(entry.__mro__[1:])]
    bases = [base for base in bases if issubclass(base, Corpus) and "__init__" in vars(base)]
    return list(dict.fromkeys([*bases, *classes]))


def _wandb_settings() -> type:
    """Return the class of the W&B settings."""
    from mmie.training.wandb_logger import WandbSettings

    return WandbSettings


def _table(actions: list[Any]) -> str:
    """Write the table of options as keys of a configuration."""
    rows = []
    for action in actions:
        _, kind, default, text = option_row(action)
        rows.append([f"`{action.dest}`", kind, default, text])
    return markdown_table(_HEADER, rows)
