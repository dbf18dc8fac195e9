"""The site: it builds strictly, opens from a folder, and loads nothing from elsewhere."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from helpers.browser import CHROMIUM
from helpers.command import single_thread_environment
from helpers.paths import REPOSITORY

import mmie.methods
from mmie.cli.main import COMMANDS

pytest.importorskip("mkdocs", reason="mkdocs is not installed: pip install 'mmie[docs]'")
pytestmark = pytest.mark.slow

LOADED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src"}
"""Elements that load a file, and the attribute that names it."""
NOT_LOADED = ("canonical", "next", "prev", "edit")
"""Kinds of links that load nothing."""


class LoadedFiles(HTMLParser):
    """Collects the files that a page loads, and the targets of its links."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Collect what an element loads."""
        values = dict(attrs)
        if tag == "link" and values.get("rel") in NOT_LOADED:
            return
        if tag in LOADED and values.get(LOADED[tag]):
            self.loaded.append(str(values[LOADED[tag]]))
        if tag == "a" and values.get("href"):
            self.links.append(str(values["href"]))


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """Folder of the site, built strictly: any warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    completed = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=REPOSITORY,
        env=single_thread_environment(NO_MKDOCS_2_WARNING="1"),
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert completed.returncode == 0, completed.stderr[-3000:]
    return folder


def read_page(site: Path, name: str) -> str:
    """Return the text of a page without its tags."""
    return re.sub(r"<[^>]+>", "", (site / name).read_text(encoding="utf-8"))


def test_pages_load_files_of_the_site_alone(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 50
    for page in pages:
        parser = LoadedFiles()
        parser.feed(page.read_text(encoding="utf-8"))
        assert parser.loaded
        for file in parser.loaded:
            if page.name == "404.html":  # its links begin at the root of a server
                continue
            target = page.parent / file.partition("?")[0].partition("#")[0]
            assert not file.startswith(("http:", "https:", "//")), (page, file)
            assert file.startswith("data:") or target.exists(), (page, file)


def test_style_sheets_load_nothing_from_elsewhere(site):
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert not re.search(r"url\(['\"]?(?:https?:)?//", text), sheet
        assert "@import" not in text, sheet


def test_every_command_has_a_section(site):
    page = (site / "reference" / "commands.html").read_text(encoding="utf-8")
    for name in COMMANDS:
        assert f'id="mmie-{name}"' in page


def test_the_reference_holds_options_and_keys(site):
    commands = read_page(site, "reference/commands.html")
    assert "--resamples" in commands
    assert "--dry-run" in commands
    configuration = read_page(site, "reference/configuration.html")
    for key in (
        "run_dir",
        "data.batch_size",
        "trainer.max_epochs",
        "prompt_length",
        "context_file",
    ):
        assert key in configuration


@pytest.mark.parametrize("name", mmie.methods.__all__)
def test_every_method_is_in_the_reference(site, name):
    page = (site / "reference" / "python" / "methods.html").read_text(encoding="utf-8")
    module = getattr(mmie.methods, name).__module__
    assert f'id="{module}.{name}"' in page


def test_equations_stand_beside_the_code_that_computes_them(site):
    page = (site / "methods" / "rap.html").read_text(encoding="utf-8")
    section = page.partition('id="path-loss-equation-22"')[2].partition("<h3")[0]
    assert "<math" in section
    assert "arithmatex" not in page
    assert "difference.square()" in re.sub(r"<[^>]+>", "", section)


def test_tutorials_have_outputs(site):
    pages = sorted((site / "tutorials").glob("[0-9]*.html"))
    assert len(pages) == 3
    for page in pages:
        text = page.read_text("utf-8")
        assert "best epoch" in text or "epoch 1" in text, page


@pytest.fixture(scope="module")
def browser():
    """A browser that reaches no server."""
    playwright = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("no chromium on the PATH")
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--host-resolver-rules=MAP * ~NOTFOUND"],
        )
        yield launched
        launched.close()


def test_the_search_works_from_a_folder(site, browser):
    page = browser.new_page()
    requests = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(f"{(site / 'index.html').as_uri()}?q=checkpoint")
    page.wait_for_selector(".md-search-result__item", state="attached", timeout=60_000)
    assert all(url.startswith(("file:", "data:", "blob:")) for url in requests)
