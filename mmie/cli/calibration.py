"""``mmie study certificate``: certificates on demo corpora whose true share is known."""

import contextlib
import io
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from jsonargparse import Namespace
from jsonargparse.typing import NonNegativeInt, PositiveInt

from mmie.cli.lightning import feature_folder, lightning_command
from mmie.cli.parsing import OneLineParser, UsageError, usage_errors
from mmie.data import DemoCorpus
from mmie.data.demo import write_demo
from mmie.experiments.sweep import parse_seeds
from mmie.reports.certificate.calibration import (
    CalibrationRow,
    calibration_table,
    known_share,
    summarise_calibration,
    write_calibration,
)
from mmie.reports.certificate.certificate import Certificate, certify
from mmie.reports.certificate.outcomes import ExchangeRecords
from mmie.reports.diagnosis.target import load_target, read_data_settings
from mmie.runs.folder import BEST
from mmie.utils.configurations import find_configuration
from mmie.utils.terminal import PlainConsole, print_lines
from mmie.utils.wording import format_duration

_POSTS = {"train": 320, "valid": 40, "test": 200}
"""Posts of each corpus."""


def calibration_parser() -> OneLineParser:
    """Build the parser of ``mmie study certificate``."""
    parser = OneLineParser(
        description="Compare certificates with the true share on demo corpora of known shares. "
        "Finished fits are not run again."
    )
    parser.add_argument("config", type=str, help="Configuration of a fit on the demo corpus.")
    parser.add_argument(
        "--shares",
        type=list[float],
        default=[0, 0.25, 0.5, 0.75, 1],
        help="Shares of posts that the picture alone decides. The text decides the others.",
    )
    parser.add_argument("--seeds", type=str, default="3", help="Number of seeds, or the seeds.")
    parser.add_argument(
        "--controls",
        type=NonNegativeInt,
        default=0,
        help="Certificates with shuffled pictures, of the first fit of the last share.",
    )
    parser.add_argument("--epochs", type=PositiveInt, default=10, help="Epochs of each fit.")
    parser.add_argument("--permutations", type=PositiveInt, default=999, help="See mmie certify.")
    parser.add_argument("--resamples", type=PositiveInt, default=1000, help="See mmie certify.")
    for split, count in _POSTS.items():
        parser.add_argument(f"--{split}", type=PositiveInt, default=count, help="Posts to write.")
    parser.add_argument("--out", type=Path, required=True, help="Folder of corpora and runs.")
    return parser


def run_calibration(settings: Namespace) -> None:
    """Run ``mmie study certificate``.

    Raises:
        UsageError: A share is not between 0 and 1, or a folder cannot be written.
    """
    if not settings.shares or not all(0 <= share <= 1 for share in settings.shares):
        raise UsageError(f"shares is {settings.shares}: expected shares from 0 to 1")
    rows = list(_rows(settings))
    PlainConsole().print(calibration_table(rows))
    with usage_errors():
        print_lines(write_calibration(rows, settings.out))


def _rows(settings: Namespace) -> Iterator[CalibrationRow]:
    """Yield a row for each share, and one for shuffled pictures."""
    seeds = parse_seeds(settings.seeds)
    folder = settings.out
    num_done, num_all = 0, len(settings.shares) * len(seeds) + settings.controls
    for share in settings.shares:
        folder = settings.out / f"share_{share:g}"
        certificates, true_shares = [], []
        for seed in seeds:
            num_done += 1
            with _reported(f"{folder / f'seed_{seed}'}: certificate {num_done} of {num_all}"):
                _fit(settings, folder, share, seed)
                certificate, records = _certify(settings, folder, seed)
            certificates.append(certificate)
            true_shares.append(known_share(records))
        yield summarise_calibration(share, certificates, true_shares)
    if settings.controls:
        controls = []
        for control in range(settings.controls):
            num_done += 1
            with _reported(f"shuffled pictures {control}: certificate {num_done} of {num_all}"):
                controls.append(_certify(settings, folder, seeds[0], control)[0])
        yield summarise_calibration(settings.shares[-1], controls, [0.0] * len(controls))


@contextlib.contextmanager
def _reported(name: str) -> Iterator[None]:
    """Print a line when a block starts, and one with its time when it has ended."""
    print_lines(f"{name} starts")
    started = time.monotonic()
    yield
    print_lines(f"{name} took {format_duration(time.monotonic() - started)}")


def _fit(settings: Namespace, folder: Path, share: float, seed: int) -> None:
    """Write a corpus and fit the configuration on it, unless that has been done."""
    run_dir, corpus = folder / f"seed_{seed}", folder / f"demo_{seed}"
    if (run_dir / BEST).exists():
        return
    with usage_errors():
        counts = {split: settings[split] for split in _POSTS}
        write_demo(corpus, seed, noise=1 - share, both=0, **counts)
    options = [
        f"--config={find_configuration(settings.config)}",
        f"--data.corpus.init_args.root={corpus}",
        f"--model.init_args.text_encoder={corpus / 'encoder'}",
        f"--seed_everything={seed}",
        f"--trainer.max_epochs={settings.epochs}",
        "--trainer.enable_progress_bar=false",
        f"--run_dir={run_dir}",
        "--overwrite=true",
    ]
    with contextlib.redirect_stdout(io.StringIO()):
        lightning_command(["fit", *options])


def _certify(
    settings: Namespace, folder: Path, seed: int, control: int | None = None
) -> tuple[Certificate, Sequence[ExchangeRecords]]:
    """Certify the fit of a seed, with shuffled pictures if ``control`` is the seed of these."""
    checkpoint = folder / f"seed_{seed}" / BEST
    data = read_data_settings(checkpoint)
    if control is not None:
        data = {**data, "pictures": "shuffled", "seed": control}
    target = load_target(checkpoint, DemoCorpus(folder / f"demo_{seed}"), data)
    return certify(
        target,
        permutations=settings.permutations,
        resamples=settings.resamples,
        seed=seed if control is None else control,
        folder=feature_folder("auto"),
    )
