"""TensorBoard and MLflow logs of run folders, with real fits and tests."""

import warnings
from importlib.util import find_spec

import pytest
import yaml
from helpers.command import metrics, succeed
from helpers.fitted_runs import fit_options
from helpers.paths import CONFIGS

from mmie.runs.folder import MLFLOW_ID, clear_run
from mmie.training.trackers import MLflowSettings, RunMLflowLogger, read_mlflow_id, rename_scores

pytestmark = pytest.mark.slow

LOGGERS = CONFIGS / "loggers"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """URI of a local store of MLflow."""
    return f"sqlite:///{tmp_path_factory.mktemp('store') / 'mlflow.db'}"


@pytest.fixture(scope="module")
def run_dir(demo_root, store, tmp_path_factory):
    """Run folder of a fit, two tests and a validation, with the loggers that are installed."""
    folder = tmp_path_factory.mktemp("runs") / "night"
    options = []
    for name in ("tensorboard", "mlflow"):
        if find_spec(name) is not None:
            options.append(f"--config={LOGGERS / f'{name}.yaml'}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", store)
        succeed("fit", *fit_options(demo_root, folder), *options, "--trainer.max_epochs=4")
        again = [f"--config={folder / 'config.yaml'}", *options]
        succeed("test", *again)
        succeed("test", *again, "--data.pictures=shuffled")
        succeed("validate", *again)
    return folder


def expected_scores(run_dir):
    """Return the scores of a run folder, those of a fit by epoch, by the names in logs."""
    record = metrics(run_dir)
    scores = {
        "test/f1": [record["test"]["test/f1"]],
        "test_shuffled/f1": [record["test_shuffled"]["test/f1"]],
        "validate/f1": [record["validate"]["val/f1"]],
    }
    for name in ("train/loss", "val/f1"):
        scores[name] = [epoch[name] for epoch in record["fit"]["epochs"]]
    assert min(score[-1] for score in scores.values()) > 0
    return scores


def test_tensorboard_shows_the_scores_of_a_run_folder(run_dir):
    pytest.importorskip("tensorboard", reason="needs TensorBoard: mmie[tensorboard]")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run_dir / "tensorboard"))
    events.Reload()
    for name, values in expected_scores(run_dir).items():
        assert [event.value for event in events.Scalars(name)] == pytest.approx(values)
    settings = yaml.safe_load((run_dir / "tensorboard" / "hparams.yaml").read_text())
    assert settings["model"]["class_path"] == "mmie.methods.TextOnly"


def test_mlflow_has_one_run_for_a_run_folder(run_dir, store):
    pytest.importorskip("mlflow", reason="needs MLflow: mmie[mlflow]")
    from mlflow.tracking import MlflowClient

    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("mmie")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_id == read_mlflow_id(run_dir)
    assert (run.info.run_name, run.info.status) == ("night", "FINISHED")
    assert run.data.tags["method"] == "TextOnly"
    for name, values in expected_scores(run_dir).items():
        history = client.get_metric_history(run.info.run_id, name)
        assert [metric.value for metric in history] == pytest.approx(values)
    assert run.data.params["model/class_path"] == "mmie.methods.TextOnly"


def test_a_run_that_is_gone_gives_one_warning_and_no_error(run_dir, store, tmp_path):
    pytest.importorskip("mlflow", reason="needs MLflow: mmie[mlflow]")
    logger = RunMLflowLogger(MLflowSettings(store), tmp_path, "RAP", "0" * 32, {})
    with pytest.warns(UserWarning, match="MLflow, nothing more is logged there: .*0000"):
        logger.log_metrics({"val/f1": 0.5}, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        logger.log_metrics({"val/f1": 0.6}, 2)
        logger.finalize("success")


def test_only_a_continued_fit_keeps_the_mlflow_run(tmp_path):
    (tmp_path / MLFLOW_ID).write_text("abc\n")
    clear_run(tmp_path, continued=True)
    assert read_mlflow_id(tmp_path) == "abc"
    clear_run(tmp_path, continued=False)
    assert read_mlflow_id(tmp_path) is None


def test_only_the_prefix_of_a_score_is_renamed():
    prefixes = {"val/": "validate/", "test/": "test_none/"}
    assert rename_scores({"val/f1": 1, "x/val/f1": 2, "test/f1": 3}, prefixes) == {
        "validate/f1": 1,
        "x/val/f1": 2,
        "test_none/f1": 3,
    }
