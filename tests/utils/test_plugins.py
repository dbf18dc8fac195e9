"""Modules of one's own: on request, as plugins of installed packages, and what stops them."""

import sys

import pytest
from helpers.own_method import write_plugin

from mmie.utils.plugins import (
    PluginError,
    advise_import,
    import_installed,
    import_modules,
    searched_folder,
)


def test_a_folder_is_searched_first_and_for_a_while(tmp_path):
    (tmp_path / "own_module_of_a_folder.py").write_text("VALUE = 3\n")
    before = list(sys.path)
    with searched_folder(tmp_path):
        assert sys.path == [str(tmp_path), *before]
        import_modules(["own_module_of_a_folder"])
    assert sys.path == before
    assert sys.modules["own_module_of_a_folder"].VALUE == 3
    with pytest.raises(PluginError, match=r"has a module own_module_elsewhere$"):
        import_modules(["own_module_elsewhere"])


def test_a_module_that_changes_the_path_does_no_harm(tmp_path):
    before = list(sys.path)
    with searched_folder(tmp_path):
        sys.path.remove(str(tmp_path))
    assert sys.path == before


@pytest.mark.parametrize(
    ("name", "source", "message"),
    [
        ("own_a", "import os\nname\n", r"own_a: NameError: .*'name'.* \(own_a.py, line 2\)"),
        ("own_b", "import nothing_such\n", r"No module named 'nothing_such' \(own_b.py, line 1\)"),
        ("own_c", "a =\n", r"SyntaxError: invalid syntax \(own_c.py, line 1\)"),
        ("own_d", "raise SystemExit('out')\n", r"SystemExit: out \(own_d.py, line 1\)"),
        ("own_e.part", "", r"an installed package has a module own_e\.part$"),
    ],
)
def test_a_module_that_fails_is_named_with_its_line(tmp_path, name, source, message):
    (tmp_path / f"{name.partition('.')[0]}.py").write_text(source)
    with searched_folder(tmp_path), pytest.raises(PluginError, match=message):
        import_modules([name])


def test_plugins_are_imported_and_a_broken_one_is_left_out(tmp_path, monkeypatch):
    write_plugin(tmp_path, "own_broken_plugin", "1 / 0\n")
    write_plugin(tmp_path, "own_whole_plugin", "VALUE = 4\n")
    monkeypatch.syspath_prepend(tmp_path)
    reason = (
        r"the plugin own_broken_plugin of own_broken_plugin is left out: ZeroDivisionError: "
        r"division by zero \(own_broken_plugin.py, line 1\)"
    )
    with pytest.warns(UserWarning, match=reason):
        import_installed()
    assert sys.modules["own_whole_plugin"].VALUE == 4


@pytest.mark.parametrize("class_path", ["a b.Mine", "a;b.Mine", "f.<locals>.Mine", "Mine", ".Mine"])
def test_a_name_that_is_none_is_not_repeated(class_path):
    assert advise_import(class_path) == "import its module first"


def test_a_class_of_a_script_cannot_be_imported():
    assert "defined in a script" in advise_import("__main__.Mine")
