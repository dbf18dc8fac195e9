"""``mmie sweep --optuna`` on the command line."""

import pytest
from helpers.command import check_refused, metrics, run, succeed, tiny_options
from helpers.paths import CONFIGS

pytest.importorskip("optuna", reason="needs Optuna: mmie[tune]")

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("_forked_runs")]

TEXT_ONLY = CONFIGS / "demo_text_only.yaml"


@pytest.fixture
def space(tmp_path):
    """File of a space of two learning rates."""
    file = tmp_path / "space.yaml"
    file.write_text("model.text_lr: [0.001, 0.003]\n")
    return file


def test_a_search_fits_its_trials(demo_root, space, tmp_path):
    out = tmp_path / "out"
    _, hardware, *options, _ = tiny_options("text_only", demo_root, tmp_path)
    fixed = [f"--set={option.removeprefix('--')}" for option in options]
    configs = f"{TEXT_ONLY}+{hardware.removeprefix('--config=')}"
    line = ["sweep", configs, f"--optuna={space}", "--trials=1", f"--out={out}", *fixed]
    trial, best, folder = succeed(*line).out.splitlines()
    record = metrics(out / "trial_000" / "seed_1234")
    assert "test" not in record
    score = 100 * record["fit"]["best"]["val/f1"]
    assert trial.startswith(f"trial 0: val/f1 {score:.2f} with model.text_lr=0.00")
    assert (best, folder) == (f"best {trial}", str(out))
    assert record["settings"]["model.text_lr"] == float(trial.rpartition("=")[2])
    assert succeed(*line).out.splitlines() == [best, folder]


def test_options_that_do_not_fit_are_refused(space, tmp_path):
    search = ["sweep", TEXT_ONLY, f"--out={tmp_path / 'out'}"]
    check_refused(run(*search, "--trials=3"), "trials and sampler are options of a search")
    search.append(f"--optuna={space}")
    check_refused(run(*search, "--only=1"), "only is an option of a plain sweep")
    check_refused(run(*search, "--test-pictures"), "test-pictures is an option of a plain sweep")
    check_refused(run(*search, "--set=a=1,2"), "one value for each --set")
    check_refused(run(*search, "--set=model.text_lr=1"), "model.text_lr is given by --set and by")
    check_refused(run(*search, f"--optuna={tmp_path / 'none.yaml'}"), "none.yaml")
    assert not (tmp_path / "out").exists()
