"""The run folder as a file format: its names, its writing and its reading.

==========================  =====================================================================
file                        content
==========================  =====================================================================
``config.yaml``             the whole configuration
``best.ckpt``               checkpoint of the best epoch in validation
``last.ckpt``               checkpoint of the last epoch
``metrics.csv``             scores by epoch
``metrics.json``            the record: sections of fit, validate and test, and their facts
``predictions.jsonl``       after a test: a line for each instance of the split
``unscored.jsonl``          after a predict: the same
``wandb_id.txt``            with W&B: the id of the run there
``mlflow_id.txt``           with MLflow: the id of the run there
``tensorboard/``            with TensorBoard: its event files
``diagnosis.html``          after `mmie diagnose`: why the checkpoint predicts what it predicts
==========================  =====================================================================

The section of a test records how many instances of the split were tested, and the SHA-256 of their
predictions: `mmie.runs.metrics.COUNT`, ``INSTANCES`` and ``DIGEST``. `mmie.runs.facts` lists what
else tells whether sections and files belong together.

``sweep.json`` beside the run folders of a sweep says which runs were planned:
`mmie.runs.sweep_plan`.

Scores in ``metrics.json`` and ``metrics.csv`` are fractions, and epochs are counted from 0, as
Lightning counts them. Whatever a person reads has percent, and counts epochs from 1:
`mmie.utils.wording`.

Tests with shuffled pictures or without any have sections and predictions of their own: see
`mmie.runs.picture_tests`.
"""

from mmie.runs.folder import RunError, RunFolderError
from mmie.runs.metrics import read_metrics, update_metrics
from mmie.runs.predictions import (
    PredictionMismatch,
    PredictionRecord,
    read_prediction_file,
    read_predictions,
)
from mmie.runs.reading import Fit, Run, RunStart, find_runs, read_run

__all__ = [
    "Fit",
    "PredictionMismatch",
    "PredictionRecord",
    "Run",
    "RunError",
    "RunFolderError",
    "RunStart",
    "find_runs",
    "read_metrics",
    "read_prediction_file",
    "read_predictions",
    "read_run",
    "update_metrics",
]
