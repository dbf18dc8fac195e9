"""Report of all that README and documentation leave open without a GPU, in about ten minutes.

    python -m mmie.experiments.gpu_report --out docs/background/gpu.md

It needs no corpus and no weights: see `mmie.experiments.gpu_measures`.
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from mmie.data import MultimodalDataModule
from mmie.experiments.benchmark import Benchmark
from mmie.experiments.benchmark_process import BenchmarkError, run_in_process
from mmie.experiments.gpu_measures import (
    FULL,
    SMALL,
    ReportSize,
    build_data,
    build_method,
    compare_precisions,
    extraction_rate,
    fit_epoch,
    plain_epoch,
    write_workspace,
)
from mmie.methods import RAP, ExtractionModule, HVPNet
from mmie.utils.devices import describe_hardware
from mmie.utils.files import atomic_write_text
from mmie.utils.terminal import print_lines

METHODS: tuple[type[ExtractionModule], ...] = (HVPNet, RAP)
COMMAND = "make gpu-report"
_EPOCH_HEAD = (
    "| method | plain float32 loop | fit in bfloat16 | ratio (target 15) | GPU busy (target 90 %) "
    "| extraction |",
    "|---|---|---|---|---|---|",
)
_STEP_HEAD = (
    "| HVPNet's step | seconds | posts/s | GiB on the GPU | GFLOP/s | of a matrix product's |",
    "|---|---|---|---|---|---|",
)
_AGREEMENT_HEAD = (
    "| method | relative difference of the loss | of the gradient |",
    "|---|---|---|",
)
Measure = Callable[[Sequence[str]], Benchmark]


def write_report(
    folder: Path, size: ReportSize, device: torch.device, measure: Measure = run_in_process
) -> str:
    """Measure everything and return the page in Markdown.

    Args:
        folder: Folder for the data, which must not exist.
        size: Sizes of data and models.
        device: Where to compute.
        measure: Runs ``mmie benchmark`` with some arguments.
    """
    write_workspace(folder, size)
    data = build_data(folder, size)
    num_devices = torch.cuda.device_count() if device.type == "cuda" else 1
    lines = [
        "# On a GPU",
        "",
        f"`{COMMAND}` has written this page. Data are a demo corpus of {size.posts} training "
        f"posts, each with up to four pictures of {size.image_size} pixels, in batches of "
        f"{size.batch_size}. The backbone is {size.vision_backbone}. All weights are random.",
        "",
        f"Machine: {describe_hardware(device, num_devices)}, PyTorch {torch.__version__}.",
        "",
        "## Epochs",
        "",
        "The plain loop trains the same network in float32. It decodes the pictures and runs the "
        "frozen backbone in every step, draws random batches and uses AdamW of PyTorch. The fit is "
        "that of `mmie fit` with a filled cache. Validation is not counted.",
        "",
        *_epoch_table(folder, data, size, device),
        "",
        "## Training steps",
        "",
        "Measured by `mmie benchmark`.",
        "",
        *_step_table(step_variants(folder, size, device, num_devices), measure),
        "",
        "## bfloat16 against float32",
        "",
        "Loss and gradient of one batch, with the same weights and without dropout.",
        "",
        *_agreement_table(data, size, device),
    ]
    return "\n".join(lines) + "\n"


def step_variants(
    folder: Path, size: ReportSize, device: torch.device, num_devices: int
) -> dict[str, list[str]]:
    """Return the arguments of ``mmie benchmark`` for each row of the table of steps.

    With several GPUs there are rows for DDP, and for synchronised batch norms of a trained
    backbone.
    """
    shared = [
        "--config=demo_hvpnet",
        f"--steps={size.steps}",
        f"--run_dir={folder / 'run'}",
        f"--feature_store={folder / 'cache'}",
        f"--data.corpus.init_args.root={folder}",
        f"--data.batch_size={size.batch_size}",
        f"--data.image_size={size.image_size}",
        f"--data.num_workers={size.num_workers}",
        f"--model.init_args.text_encoder={folder / 'encoder'}",
        f"--model.init_args.vision_backbone={size.vision_backbone}",
        f"--trainer.accelerator={device.type}",
    ]
    single = [*shared, "--trainer.devices=1"]
    bfloat16 = [*single, "--trainer.precision=bf16-mixed"]
    variants = {
        "float32": [*single, "--trainer.precision=32-true"],
        "bfloat16": bfloat16,
        "bfloat16, compiled": [*bfloat16, "--model.init_args.compile=true"],
    }
    if num_devices > 1:
        several = [*shared, f"--trainer.devices={num_devices}", "--trainer.strategy=ddp"]
        several.append("--trainer.precision=bf16-mixed")
        trained = [*several, "--model.init_args.freeze_vision=false"]
        variants[f"bfloat16, DDP on {num_devices} GPUs"] = several
        variants[f"bfloat16, DDP on {num_devices} GPUs, trained backbone"] = trained
        variants[f"the same with sync_batchnorm, {num_devices} GPUs"] = [
            *trained,
            "--trainer.sync_batchnorm=true",
        ]
    return variants


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the page.

    Raises:
        SystemExit: The machine has no GPU, and ``--small`` is missing.
    """
    parser = argparse.ArgumentParser(description="Measure everything on a GPU and write a page.")
    parser.add_argument("--out", type=Path, required=True, help="Markdown file to write")
    parser.add_argument(
        "--small", action="store_true", help="tiny sizes, on the CPU if there is no GPU"
    )
    settings = parser.parse_args(arguments)
    if not settings.small and not torch.cuda.is_available():
        parser.error("there is no GPU: --small runs tiny sizes on the CPU")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with tempfile.TemporaryDirectory() as folder:
        page = write_report(Path(folder) / "demo", SMALL if settings.small else FULL, device)
    atomic_write_text(settings.out, page)
    print_lines(f"wrote {settings.out}")


def _epoch_table(
    folder: Path, data: MultimodalDataModule, size: ReportSize, device: torch.device
) -> list[str]:
    """Measure epochs and extraction of each method."""
    rows = list(_EPOCH_HEAD)
    for method in METHODS:
        plain = plain_epoch(build_method(method, data, size), data, device)
        module = build_method(method, data, size)
        epoch = fit_epoch(module, data, folder / "cache", device)
        rate = extraction_rate(module, data, device)
        busy = "not measured" if epoch.busy is None else f"{100 * epoch.busy:.0f} %"
        rows.append(
            f"| {method.__name__} | {plain:.2f} s | {epoch.seconds:.2f} s "
            f"| {plain / epoch.seconds:.1f} | {busy} | {rate:.0f} posts/s |"
        )
    return rows


def _step_table(variants: dict[str, list[str]], measure: Measure) -> list[str]:
    """Measure the steps of each variant. One that fails keeps a row without numbers."""
    rows = list(_STEP_HEAD)
    for name, arguments in variants.items():
        try:
            result = measure(arguments)
        except BenchmarkError as error:
            rows.append(f"| {name} | {error} | | | | |")
            continue
        memory = result.peak_gpu_memory_gib
        share = result.gflop_per_second / result.matmul_gflop_per_second
        rows.append(
            f"| {name} | {result.step_seconds:.4f} | {result.samples_per_second:.0f} "
            f"| {'' if memory is None else f'{memory:.2f}'} | {result.gflop_per_second:.0f} "
            f"| {100 * share:.0f} % |"
        )
    if not any("DDP" in name for name in variants):
        rows.append("| DDP and sync_batchnorm | not measured: one device | | | | |")
    return rows


def _agreement_table(
    data: MultimodalDataModule, size: ReportSize, device: torch.device
) -> list[str]:
    """Compare bfloat16 with float32 for each method."""
    rows = list(_AGREEMENT_HEAD)
    for method in METHODS:
        agreement = compare_precisions(build_method(method, data, size), data, device)
        rows.append(f"| {method.__name__} | {agreement.loss:.1e} | {agreement.gradient:.1e} |")
    return rows


if __name__ == "__main__":
    main()
