"""Hooks of MkDocs that make pages from code: commands, configuration, methods, Python, notebooks.

Everything that the code already says is read from it at build time. A page under ``docs/`` has only
what the code does not say.
"""

import importlib
import inspect
import re
from pathlib import Path

import commands
import configuration
import method_pages
import python_pages
import tutorials
from docstrings import convert_docstring
from mathml import convert_equations
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).parents[2]
_INCLUDE = re.compile(r"^<!-- include: (\S+)( as a section)? -->$", re.MULTILINE)
_DOCSTRING = re.compile(r"^<!-- docstring: (\S+) -->$", re.MULTILINE)
_PAGES = {
    "CONTRIBUTING.md": "background/architecture.md#contributing",
    "SECURITY.md": "background/security.md",
    "CHANGELOG.md": "background/changelog.md",
}
"""Pages of the site that stand for files of the repository."""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the rooms of the package into the navigation."""
    for section in config.nav or []:
        for entry in section.get("Reference", []):
            if isinstance(entry, dict) and "Python" in entry:
                entry["Python"] = python_pages.navigation()
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are generated as a whole."""
    pages: dict[str, str | bytes] = {
        "reference/commands.md": commands.render_page(),
        "reference/configuration.md": configuration.render_page(),
    }
    pages.update(python_pages.render_pages())
    pages.update(tutorials.render_pages(REPOSITORY / "notebooks"))
    for path, content in pages.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill in the parts of a page that come from code."""
    path = page.file.src_uri
    markdown = _INCLUDE.sub(include_file, markdown)
    markdown = _DOCSTRING.sub(include_docstring, markdown)
    if path == "methods/index.md":
        return method_pages.fill_overview(markdown)
    if path.startswith("methods/"):
        return method_pages.fill_method(markdown, Path(path).stem)
    return markdown


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Convert the equations of a page to MathML."""
    return convert_equations(html)


def include_file(match: re.Match[str]) -> str:
    """Return a file of the repository, whose links lead to pages of the site."""
    text = (REPOSITORY / match[1]).read_text(encoding="utf-8")
    for file, page in _PAGES.items():
        text = text.replace(f"]({file})", f"]({page})")
    if match[2]:
        text = re.sub(r"^(#+ )", r"#\1", text, flags=re.MULTILINE)
    return text.replace("](docs/", "](")


def include_docstring(match: re.Match[str]) -> str:
    """Return the docstring of a module without its first line."""
    docstring = inspect.getdoc(importlib.import_module(match[1])) or ""
    return convert_docstring(docstring.partition("\n\n")[2])
