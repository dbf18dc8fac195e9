"""The README and the pages: commands parse, commands run, files and links exist."""

import json
import re
import shutil
import sys
import tomllib
from pathlib import Path

import pandas as pd
import pytest
from helpers.command import succeed
from helpers.documents import (
    BLOCK,
    DOCS,
    PAGES,
    Block,
    blocks,
    command_blocks,
    inline_commands,
    parse,
)
from helpers.paths import CONFIGS, REPOSITORY

from mmie.cli.main import COMMANDS
from mmie.data import JsonlCorpus

BLOCKS = command_blocks()
MOST_BYTES = 6_000
"""Largest size of the README."""
TINY_FIT = (
    "--trainer.max_epochs=1",
    "--trainer.accelerator=cpu",
    "--model.init_args.text_encoder=demo/encoder",
    "--model.init_args.pretrained=false",
    "--data.max_tokens=64",
    "--data.image_size=64",
)
SMALLER = {
    "corpus demo": ("--train=48", "--valid=16", "--test=16"),
    "fit": TINY_FIT,
    "sweep": ("--slurm=array.sh", "--overwrite"),
    "study": ("--dry-run",),
    "compare": ("--resamples=100",),
    "certify": ("--others=2", "--permutations=99", "--resamples=100"),
    "diagnose": ("--sample=8",),
}
"""Options that make a command small. A sweep and a study are planned, and not run."""


def pages_with_commands() -> list[str]:
    """Return the pages that have commands which can be run, the README first."""
    pages = dict.fromkeys(block.page for block in BLOCKS if not block.mark)
    first = ("README.md", "docs/howto/demo.md")
    return sorted(pages, key=lambda page: (page not in first, page))


def block_name(block: Block) -> str:
    """Return the name of a block in the list of tests."""
    return block.name


@pytest.fixture(autouse=True)
def _imported_anew():
    """Forget the module of a page behind each test: it lies in different folders."""
    yield
    sys.modules.pop("my_package", None)


@pytest.fixture(scope="module")
def parsing_folder(fitted_runs, tmp_path_factory) -> Path:
    """Folder with the configurations, in which every named run folder is a fitted one."""
    folder = tmp_path_factory.mktemp("parsing")
    (folder / "configs").symlink_to(CONFIGS)
    (folder / "runs").mkdir()
    text = "\n".join(block.text for block in BLOCKS)
    for name in set(re.findall(r"runs/(\w+)", text)):
        (folder / "runs" / name).symlink_to(fitted_runs / "ner")
    for page in PAGES:
        write_files(page, folder)
    return folder


def write_files(page: Path, folder: Path) -> None:
    """Write the blocks of a page that are files, such as a module and its configuration."""
    for block in blocks(page):
        if block.title:
            (folder / block.title).write_text(f"{block.text}\n", encoding="utf-8")


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.mark], ids=block_name)
def test_commands_that_are_not_run_parse(monkeypatch, parsing_folder, block):
    monkeypatch.chdir(parsing_folder)
    monkeypatch.syspath_prepend(parsing_folder)
    commands = block.commands(parsing_folder)
    assert commands
    errors = [error for error in map(parse, commands) if error]
    assert errors == []


@pytest.mark.parametrize(("page", "command"), inline_commands())
def test_commands_within_text_exist(page, command):
    assert command.split()[1] in COMMANDS, page


@pytest.fixture(scope="module")
def sandbox(fitted_runs, demo_root, tmp_path_factory) -> Path:
    """Folder in which the commands of the README and of the pages run one after another."""
    folder = tmp_path_factory.mktemp("documentation")
    shutil.copytree(CONFIGS, folder / "configs")
    shutil.copytree(fitted_runs, folder / "runs")
    shutil.copytree(demo_root, folder / "data" / "mine")
    shutil.copytree(demo_root / "images", folder / "data" / "news" / "images")
    shutil.copytree(demo_root / "crops", folder / "data" / "news" / "crops")
    for split in ("train", "valid", "test"):
        frame = pd.read_json(demo_root / f"{split}.jsonl", lines=True)
        frame.to_parquet(folder / "data" / "news" / f"{split}.parquet")
    records = (demo_root / "test.jsonl").read_text(encoding="utf-8").splitlines()
    posts = []
    for line in records:
        record = json.loads(line)
        picture = str(demo_root / record["image"])
        posts.append({"text": " ".join(record["words"]), "image": picture})
    for post in posts:
        shutil.copy(post["image"], folder / Path(post["image"]).name)
        post["image"] = Path(post["image"]).name
    shutil.copy(folder / posts[0]["image"], folder / "photo.jpg")
    lines = "".join(json.dumps(post) + "\n" for post in posts)
    (folder / "posts.jsonl").write_text(lines, encoding="utf-8")
    return folder


def make_smaller(arguments: list[str]) -> list[str]:
    """Add options to a command so that it takes seconds."""
    pair = " ".join(arguments[:2])
    added = list(SMALLER.get(pair, SMALLER.get(arguments[0], ())))
    given = {argument.partition("=")[0] for argument in arguments}
    if any(argument.endswith("help") for argument in given):
        return arguments
    return [*arguments, *(option for option in added if option.partition("=")[0] not in given)]


@pytest.mark.slow
def test_commands_of_all_pages_run(monkeypatch, sandbox):
    """The commands of a page build on one another, and on those of the README, which come first."""
    monkeypatch.chdir(sandbox)
    monkeypatch.syspath_prepend(sandbox)
    for page in pages_with_commands():
        try:
            run_commands(page, sandbox)
        except Exception as error:
            error.add_note(f"on the page {page}")
            raise


def run_commands(page: str, sandbox: Path) -> None:
    """Run the commands of a page in the sandbox."""
    remove_repeated(sandbox)
    write_files(REPOSITORY / page, sandbox)
    for block in blocks(REPOSITORY / page):
        if block.mark or block.title:
            continue
        if block.language == "python":
            exec(compile(block.text, block.name, "exec"), {"__name__": block.page})
        for arguments in block.commands(sandbox):
            succeed(*make_smaller(arguments))
            if arguments[0] == "sweep":
                provide_runs(sandbox, arguments[arguments.index("--out") + 1])


def remove_repeated(sandbox: Path) -> None:
    """Remove what several pages write under the same name."""
    (sandbox / "found.jsonl").unlink(missing_ok=True)
    shutil.rmtree(sandbox / "runs" / "mine", ignore_errors=True)


def provide_runs(sandbox: Path, out: str) -> None:
    """Put tested runs where a sweep would have put its own."""
    for name in ("demo_text_only", "demo_hvpnet"):
        shutil.copytree(sandbox / "runs" / name, sandbox / out / name, dirs_exist_ok=True)


def test_the_posts_of_a_page_are_some_that_the_corpus_reads(tmp_path):
    records = []
    for block in blocks(DOCS / "howto" / "own_corpus.md"):
        if block.language == "json":
            records.append(json.dumps(json.loads(block.text)) + "\n")
    (tmp_path / "train.jsonl").write_text("".join(records), encoding="utf-8")
    post, several = JsonlCorpus(tmp_path, max_missing=1.0).posts("train")
    assert len(several.images) == 3
    assert [post.words[entity.start] for entity in post.entities] == ["Jordan", "Rome"]
    assert len(post.relations) == 1
    assert post.image == tmp_path / "images" / "7.jpg"


def test_the_readme_is_short():
    assert len((REPOSITORY / "README.md").read_bytes()) <= MOST_BYTES


def test_blocks_have_a_language_and_no_command_stands_outside_of_one():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"^ *mmie \w+ -", BLOCK.sub("", text), re.MULTILINE), page
        for block in blocks(page):
            assert block.language, block.name


def test_configurations_exist():
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for name in re.findall(r"configs/[\w/]+\.yaml", text):
            assert (REPOSITORY / name).is_file(), (page, name)


def test_links_of_the_readme_have_a_target():
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", text):
        path = REPOSITORY / target
        generated = target in ("docs/reference/commands.md", "docs/reference/configuration.md")
        assert path.exists() or generated, target


def test_every_reason_says_something():
    for page in PAGES:
        for block in blocks(page):
            assert not block.mark or len(block.reason.split()) > 2, block.name


def test_every_page_is_in_the_navigation_or_generated():
    navigation = (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8")
    for page in DOCS.rglob("*.md"):
        assert page.relative_to(DOCS).as_posix() in navigation


def test_the_page_of_installation_lists_every_extra():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))
    page = (REPOSITORY / "docs" / "howto" / "install.md").read_text("utf-8")
    listed = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert sorted(listed) == sorted(project["project"]["optional-dependencies"])
