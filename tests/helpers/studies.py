"""Run folders of small studies, written by hand."""

from pathlib import Path

from helpers.run_folders import change_metrics, entity, prediction_line, write_run

GOLD = [entity(0, "PER")]
RIGHT_LINES = [prediction_line(str(number), GOLD, GOLD) for number in range(30)]
EMPTY_LINES = [prediction_line(str(number), GOLD, []) for number in range(30)]
TWITTER_2015, TWITTER_2017 = "mmie.data.Twitter2015", "mmie.data.Twitter2017"
SCORES = ("test/precision", "test/recall", "test/f1")
IMM, DGHC = "mmie.methods.IMM", "mmie.methods.DGHC"

Sources = dict[Path, Path | None]
"""Folder of each run, with that of the run that it started from or tested."""


def write_low_resource(folder: Path, method: str = DGHC, corpus: str = TWITTER_2015) -> Sources:
    """Write two seeds each of a quarter of the training split, and of all of it."""
    sources: Sources = {}
    for share, f1, lines in ((0.25, 0.25, EMPTY_LINES), (1.0, 0.5, RIGHT_LINES)):
        for seed in (1, 2):
            run = folder / f"share_{share:g}" / f"seed_{seed}"
            settings = {"corpus": corpus, "train_fraction": share, "seed": seed}
            write_run(run, lines, f1, method=method, **settings)
            sources[run] = None
    return sources


def write_cross_task(folder: Path) -> Sources:
    """Write a run of each task, and one of each that started from the other."""
    corpora = {"ner": TWITTER_2017, "re": "mmie.data.MNRE"}
    sources: Sources = {}
    for task, corpus in corpora.items():
        run = write_run(
            folder / task / "seed_1", EMPTY_LINES, 0.5, method=IMM, corpus=corpus, task=task
        )
        sources[run] = None
    for task, corpus in corpora.items():
        source = folder / {"ner": "re", "re": "ner"}[task] / "seed_1"
        run = write_run(
            folder / f"{task}_from_other" / "seed_1",
            RIGHT_LINES,
            0.75,
            method=IMM,
            corpus=corpus,
            task=task,
            init_from=str(source / "best.ckpt"),
        )
        sources[run] = source
    return sources


def write_cross_domain(folder: Path) -> Sources:
    """Write a run on each corpus, and tests of both on the other corpus."""
    corpora = {"2015": TWITTER_2015, "2017": TWITTER_2017}
    sources: Sources = {}
    for name, corpus in corpora.items():
        sources[write_run(folder / name / "seed_1", method=DGHC, corpus=corpus)] = None
    for name, other in (("2015", "2017"), ("2017", "2015")):
        run = folder / f"{name}_on_{other}" / "seed_1"
        source = folder / name / "seed_1"
        write_run(run, None, 0.25, method=DGHC, corpus=corpora[other])
        test = {**dict.fromkeys(SCORES, 0.25), "checkpoint": str(source / "best.ckpt")}
        change_metrics(run, fit=None, test=test)
        sources[run] = source
    return sources
