"""The page of the GPU report, in its small form on the CPU."""

import json
import re
from dataclasses import replace

import pytest
import torch
from helpers.benchmarks import RESULT
from helpers.command import succeed
from helpers.paths import REPOSITORY

from mmie.experiments.benchmark import Benchmark
from mmie.experiments.benchmark_process import BenchmarkError
from mmie.experiments.gpu_measures import SMALL
from mmie.experiments.gpu_report import main, step_variants, write_report

CPU = torch.device("cpu")


@pytest.mark.slow
def test_the_page_holds_a_number_for_every_measurement(tmp_path):
    lines = []

    def measure(arguments):
        lines.append(arguments)
        if any("compile" in argument for argument in arguments):
            raise BenchmarkError("the benchmark of demo_hvpnet failed with status 1")
        if any("bf16" in argument for argument in arguments):
            return replace(RESULT, peak_gpu_memory_gib=2.0)
        output = succeed("benchmark", "--json", "--warmup=1", *arguments).out
        return Benchmark(**json.loads(output.splitlines()[-1]))

    page = write_report(tmp_path / "demo", SMALL, CPU, measure)
    assert len(lines) == 3
    for method in ("HVPNet", "RAP"):
        row = rf"\| {method} \| [\d.]+ s \| [\d.]+ s \| [\d.]+ \| not measured \| \d+ posts/s \|"
        assert re.search(row, page)
        assert re.search(rf"\| {method} \| \d\.\de-\d\d \| \d\.\de-\d\d \|", page)
    assert re.search(r"\| float32 \| 0\.\d+ \| \d+ \|  \| \d+ \| \d+ % \|", page)
    assert "| bfloat16 | 0.2000 | 20 | 2.00 | 40 | 25 % |" in page
    assert "| bfloat16, compiled | the benchmark of demo_hvpnet failed with status 1 |" in page
    assert "| DDP and sync_batchnorm | not measured: one device |" in page


def test_several_gpus_add_rows():
    single = step_variants(REPOSITORY, SMALL, torch.device("cuda"), 1)
    several = step_variants(REPOSITORY, SMALL, torch.device("cuda"), 4)
    added = [name for name in several if name not in single]
    assert len(added) == 3
    for name in added:
        assert "--trainer.devices=4" in several[name]
    assert "--trainer.sync_batchnorm=true" in several[added[-1]]
    assert "--model.init_args.freeze_vision=false" in several[added[-1]]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_the_full_report_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([f"--out={tmp_path / 'page.md'}"])
    assert "there is no GPU" in capsys.readouterr().err
    assert not (tmp_path / "page.md").exists()
