"""The generators of the site: tables, equations, source and pages. The site is not built here."""

import ast
import re

import commands
import configuration
import method_pages
import pytest
import python_pages
import source
import tables
from helpers.paths import PACKAGE, REPOSITORY

from mmie.cli.main import COMMANDS
from mmie.methods import papers
from mmie.reports.methods import package_methods

_REASON = "the site's packages are not installed: pip install 'mmie[docs]'"
docstrings = pytest.importorskip("docstrings", reason=_REASON)
mathml = pytest.importorskip("mathml", reason=_REASON)
tutorials = pytest.importorskip("tutorials", reason=_REASON)

TABLE = """Axes.

=====  ==========
axis   meaning
=====  ==========
batch  posts in a
       batch | all
hidden width
=====  ==========
"""
METHODS = {method.module.rpartition(".")[2]: method for method in package_methods()}


def test_tables_of_docstrings_become_markdown():
    lines = tables.convert_tables(TABLE).splitlines()
    assert lines[:2] == ["Axes.", ""]
    assert lines[2:4] == ["| axis | meaning |", "| --- | --- |"]
    assert lines[4] == r"| batch | posts in a batch \| all |"


def test_bars_in_code_stay():
    assert tables.escape_cell("`a | b` or\nc | d") == r"`a | b` or c \| d"


def test_a_table_without_header_has_empty_titles():
    text = "    ===  ===\n    a    b\n    ===  ==="
    assert tables.convert_tables(text) == "    |  |  |\n    | --- | --- |\n    | a | b |"


def test_headings_are_no_tables():
    assert tables.convert_tables("Title\n=====\ntext") == "Title\n=====\ntext"


def test_doctests_become_code():
    text = docstrings.convert_docstring("Add.\n\n>>> 1 + 1\n2\n\nMore.")
    assert text == "Add.\n\n```pycon\n>>> 1 + 1\n2\n```\n\nMore."


def test_equations_become_mathml():
    html = r'<p><span class="arithmatex">\(a &lt; b\)</span></p><div class="arithmatex">\[c\]</div>'
    converted = mathml.convert_equations(html)
    assert converted.count("<math") == 2
    assert converted.count('display="block"') == 1
    assert converted.count('<div class="equation"><math') == 1  # scrolls where it is wide
    assert "arithmatex" not in converted
    assert "&lt;" in converted or "&#x0003C;" in converted


def test_source_is_found_without_its_docstring():
    found = source.find_source("Relevance.compare")
    assert found.path == "mmie.blocks.relevance.Relevance.compare"
    lines = (REPOSITORY / found.file).read_text(encoding="utf-8").splitlines()
    assert lines[found.line - 1].strip() == found.code.splitlines()[0]
    assert '"""' not in found.code
    assert "functional.normalize" in found.code


def test_decorators_belong_to_the_source():
    assert source.find_source("PatchEmbedding._load").code.startswith("@torch.no_grad()")


@pytest.mark.parametrize("name", ["Nothing.forward", "_code"])
def test_unknown_and_ambiguous_names_are_refused(name):
    with pytest.raises(KeyError, match="expected one definition"):
        source.find_source(name)


def test_every_command_and_subcommand_has_its_options():
    page = commands.render_page()
    assert re.findall(r"^## mmie (\S+)$", page, re.MULTILINE) == list(COMMANDS)
    for name in ("corpus demo", "corpus features", "study crops", "ground convert"):
        assert f"### mmie {name}\n" in page
    assert "| `--resamples` | `int >0` |" in page
    assert "Optional[" not in page
    assert "| `--engine` | `local | onnx | ray` |" in page


def test_parsers_parse_after_they_were_found():
    commands.find_parser("compare")
    assert commands.find_parser("methods").parse_args(["rap"]).names == ["rap"]


def test_the_configuration_has_every_argument_of_every_method():
    page = configuration.render_page()
    for method in METHODS.values():
        section = page.partition(f"### {method.name}\n")[2].partition("\n##")[0]
        for switch in method.switches:
            assert f"| `{switch.name}` |" in section
    for key in ("data.context_file", "trainer.precision", "run_dir"):
        assert f"| `{key}` |" in page
    assert "#### JsonlCorpus" in page


@pytest.mark.parametrize("name", METHODS)
def test_pages_of_methods_have_a_section_for_every_row(name):
    page = REPOSITORY / "docs" / "methods" / f"{name}.md"
    filled = method_pages.fill_method(page.read_text(encoding="utf-8"), name)
    rows = method_pages.equation_rows(name)
    assert filled.count('<div class="code-beside"') == len(rows)
    assert filled.count("```python title=") >= len(rows)
    for row in rows:
        section = filled.partition(f"### {row.name}\n")[2].partition("\n### ")[0]
        assert "$$" in section
    assert METHODS[name].departures in filled


def test_code_beside_an_equation_is_what_its_row_names():
    """A mark may name parts of what the table names, and nothing else."""
    for name in METHODS:
        text = (REPOSITORY / "docs" / "methods" / f"{name}.md").read_text(encoding="utf-8")
        for row in method_pages.equation_rows(name):
            section = text.partition(f"### {row.name}\n")[2].partition("\n### ")[0]
            mark = re.search(r"<!-- code: (.*?) -->", section)
            for part in mark[1].split() if mark else ():
                path = source.find_source(part).path
                roots = [code.split(".")[0] for code in row.code if not code.startswith("mmie.")]
                modules = [code for code in row.code if code.startswith("mmie.")]
                inside = any(path.startswith(f"{module}.") for module in modules)
                assert inside or any(root in path.split(".") for root in roots) or _calls(row, path)


def _calls(row, path):
    """Tell whether the code of a row uses the class or function that a path names."""
    name = path.split(".")[3]
    for code in row.code:
        if code.startswith("mmie."):
            continue
        text = (REPOSITORY / source.find_source(code).file).read_text(encoding="utf-8")
        if re.search(rf"\b{name}\b", text):
            return True
    return False


def test_a_page_with_other_sections_than_rows_is_refused():
    with pytest.raises(ValueError, match="has the sections"):
        method_pages.fill_method("# RAP\n", "rap")
    page = (REPOSITORY / "docs" / "methods" / "text_only.md").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="extra"):
        method_pages.fill_method(f"{page}\n### extra\n\ntext\n", "text_only")


def test_ablations_have_their_overlay():
    page = (REPOSITORY / "docs" / "methods" / "rap.md").read_text(encoding="utf-8")
    overlays = re.findall(r"configs/ablations/[\w.]+\.yaml", method_pages.fill_method(page, "rap"))
    assert len(overlays) == len(papers.RAP.ablations)
    assert all((REPOSITORY / overlay).is_file() for overlay in overlays)


def test_the_overview_links_every_method():
    text = method_pages.fill_overview(method_pages.TABLE_MARK)
    for name, method in METHODS.items():
        assert f"[`{method.name}`]({name}.md)" in text


def test_every_public_class_has_a_directive():
    pages = python_pages.render_pages()
    text = "\n".join(str(page) for page in pages.values())
    directives = set(re.findall(r"^::: (\S+)$", text, re.MULTILINE))
    for init in PACKAGE.glob("*/__init__.py"):
        package = f"mmie.{init.parent.name}"
        if package != "mmie.cli":
            assert package in directives
    for path in ("mmie.data.datamodule.MultimodalDataModule", "mmie.blocks.crf", "mmie.types"):
        assert path in directives


def test_directives_name_what_exists():
    for page in python_pages.render_pages().values():
        for path in re.findall(r"^::: (\S+)$", str(page), re.MULTILINE):
            if re.search(r"\.[A-Z]\w*[a-z]\w*$", path):
                assert source.find_source(path).path == path


def test_notebooks_become_pages_with_their_pictures():
    pages = tutorials.render_pages(REPOSITORY / "notebooks")
    names = [file.stem for file in sorted((REPOSITORY / "notebooks").glob("*.ipynb"))]
    for name in names:
        text = pages[f"tutorials/{name}.md"]
        assert ".ipynb)" not in text
        for picture in re.findall(r"!\[\w*\]\(([^)]+)\)", text):
            assert pages[f"tutorials/{picture}"].startswith(b"\x89PNG")


def test_generators_have_docstrings_and_no_doctest():
    for file in (REPOSITORY / "docs" / "generators").glob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        assert ast.get_docstring(tree)
        assert "\n    >>>" not in file.read_text(encoding="utf-8")
