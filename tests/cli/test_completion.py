"""Scripts that complete the command in a shell."""

import shutil
import subprocess

import pytest
from helpers.command import check_refused, run, succeed

COMPLETE = """
source {script}
COMP_WORDS=({words})
COMP_CWORD=$(( ${{#COMP_WORDS[@]}} - 1 ))
_shtab_mmie
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    """Function that returns what bash offers for the last of several words."""
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    script = tmp_path_factory.mktemp("completion") / "mmie.bash"
    script.write_text(succeed("completion", "bash").out)

    def offers(words):
        program = COMPLETE.format(script=script, words=words)
        command = ["bash", "--norc", "-c", program]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()

    return offers


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("mmie fi", {"fit"}),
        ("mmie co", {"corpus", "compare", "convert", "config", "context", "completion"}),
        ("mmie corpus st", {"stats"}),
        ("mmie fit --config rap_m", {"rap_mnre"}),
        ("mmie fit --data.corpus Twitter2", {"Twitter2015", "Twitter2017"}),
        ("mmie fit --data.task n", {"ner"}),
        ("mmie fit --trainer.max_ep", {"--trainer.max_epochs"}),
        ("mmie benchmark --again", {"--against"}),
        ("mmie sweep hardware/g", {"hardware/gpu"}),
    ],
)
def test_bash_completes(complete, words, expected):
    assert set(complete(words)) == expected


def test_zsh_gets_a_script():
    script = succeed("completion", "zsh").out
    assert script.startswith("#compdef mmie")
    assert "_mmie_configurations" in script


def test_an_unknown_shell_is_refused():
    check_refused(run("completion", "fish"), "fish", "bash", "zsh")
