"""Commands of the documentation: the blocks of its pages, expanded by a shell that runs nothing."""

import argparse
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from unittest import mock

from helpers.command import run
from helpers.paths import REPOSITORY
from mmie.cli.lightning import build_parts
from mmie.cli.parsing import OneLineParser
from mmie.cli.run_folders import expand_benchmarked_run

DOCS = REPOSITORY / "docs"
PAGES = sorted([REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *DOCS.rglob("*.md")])
BLOCK = re.compile(
    r"(?:^ *<!-- (?P<mark>not run): (?P<reason>.*?) -->\n)?"
    r"^(?P<indent> *)```(?P<language>\w*)(?: title=\"(?P<title>.*?)\")?\n"
    r"(?P<text>(?:.*\n)*?)(?P=indent)```$",
    re.MULTILINE,
)
INLINE = re.compile(r"`(mmie [a-z]+[^`]*)`")
SHELL = """
exec 3>&1
record() { printf '%s\\0' "$@" >&3; printf '\\1\\0' >&3; }
mmie() { record "$@"; }
srun() { "$@"; }
taskset() { shift 2; "$@"; }
torchrun() { while [ "$1" != mmie.cli ]; do shift; done; shift; record "$@"; }
docker() { [ "$1" = run ] && { while [ "$1" != mmie ]; do shift; done; "$@"; }; }
seq() { echo 000; }
"""
"""Functions that print each command, and stand for the programs in front of some commands."""


class Block(NamedTuple):
    """Fenced block of a page.

    Attributes:
        page: Path below the repository.
        line: Number of its first line.
        language: Language of the fence.
        text: Content.
        title: Name of the file that the block shows, or empty.
        mark: ``not run`` or empty.
        reason: Why it is marked.
    """

    page: str
    line: int
    language: str
    text: str
    title: str
    mark: str
    reason: str

    @property
    def name(self) -> str:
        """Page and line."""
        return f"{self.page}:{self.line}"

    def commands(self, folder: Path) -> list[list[str]]:
        """Return the arguments of every `mmie` command, as a shell would pass them.

        Args:
            folder: Folder in which the shell runs. It finds no program.
        """
        if self.language != "sh":
            return []
        completed = subprocess.run(
            ["/bin/bash", "--norc", "-c", SHELL + self.text],
            cwd=folder,
            env={"PATH": "/nowhere"},
            capture_output=True,
            text=True,
        )
        lines = completed.stdout.split("\0\1\0")
        return [line.split("\0") for line in lines[:-1]]


def blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page."""
    text = page.read_text(encoding="utf-8")
    for match in BLOCK.finditer(text):
        lines = match["text"].splitlines()
        content = "\n".join(line.removeprefix(match["indent"]) for line in lines)
        line = text.count("\n", 0, match.start()) + 1
        name = page.relative_to(REPOSITORY).as_posix()
        mark, reason = match["mark"] or "", match["reason"] or ""
        title = match["title"] or ""
        yield Block(name, line, match["language"], content, title, mark, reason)


def command_blocks() -> list[Block]:
    """Return the blocks of all pages that hold an `mmie` command."""
    found = []
    for page in PAGES:
        for block in blocks(page):
            if block.language == "sh" and re.search(r"\bmmie(?:\.cli)? \w", block.text):
                found.append(block)
    return found


def inline_commands() -> list[tuple[str, str]]:
    """Return the commands within the text of all pages, with the page of each."""
    found = []
    for page in PAGES:
        text = BLOCK.sub("", page.read_text(encoding="utf-8"))
        for command in INLINE.findall(text):
            found.append((page.relative_to(REPOSITORY).as_posix(), " ".join(command.split())))
    return sorted(set(found))


class Parsed(Exception):
    """Raised behind the parser of a command that accepted its options."""


@contextmanager
def parsing_alone() -> Iterator[None]:
    """Let commands end with `Parsed` when their parser has accepted all options."""
    parse_args = OneLineParser.parse_args
    parse_known_args = argparse.ArgumentParser.parse_known_args

    def stop(parser, *arguments, **settings):
        parse_args(parser, *arguments, **settings)
        raise Parsed

    def stop_at_first(parser, *arguments, **settings):
        chosen, others = parse_known_args(parser, *arguments, **settings)
        if type(parser) is argparse.ArgumentParser and parser.add_help:
            build_parts(expand_benchmarked_run(others))  # those of a configuration
        return chosen, others

    with (
        mock.patch.object(OneLineParser, "parse_args", stop),
        mock.patch.object(argparse.ArgumentParser, "parse_known_args", stop_at_first),
    ):
        yield


def parse(arguments: list[str]) -> str:
    """Parse a command without running it.

    Returns:
        The error; empty if the parser accepts the options.
    """
    try:
        with parsing_alone():
            outcome = run(*arguments, *fitting_folder(arguments))
    except Parsed:
        return ""
    return outcome.err if outcome.status else ""


def fitting_folder(arguments: list[str]) -> list[str]:
    """Return options with which the run folder fits: one that is fitted, or may be overwritten."""
    given = {argument.partition("=")[0] for argument in arguments}
    if any(argument.endswith("help") for argument in given):
        return []
    if arguments[0] == "fit" and "--overwrite" not in given:
        return ["--overwrite=true"]
    if arguments[0] in ("validate", "test", "predict") and "--run_dir" not in given:
        return ["--run_dir=runs/demo_hvpnet"]
    return []
