"""Times of small and large models by the number of threads and by how long waiting threads spin.

Usage: ``thread_times.py [--repeats N] [--neighbours N] [--spins COUNT ...]``.

Each setting has a process of its own, and all take turns. The lines show the median seconds of a
round of work, alone and beside busy neighbours, and the ratio of the two. Other processes of the
machine are neighbours, too.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

BUSY = "while True:\n    pass\n"
"""Program of a neighbour."""
SIZES = ("small", "large")
WAITING = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def work() -> None:
    """Do a round of the work that each line of standard input names, and print its seconds.

    ``small`` trains a BERT of 32 hidden units, the size of a demo run's encoder, for 20 steps.
    ``large`` computes the states of 8 texts of 32 tokens with BERT-base.
    """
    import torch
    from transformers import BertConfig, BertModel

    tiny = BertConfig(
        hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=64
    )
    models = {"small": BertModel(tiny).train(), "large": BertModel(BertConfig()).eval()}
    tokens = torch.randint(5, 100, (8, 32))  # (texts, tokens)
    for line in sys.stdin:
        size = line.strip()
        started = time.perf_counter()
        for _ in range(20 if size == "small" else 1):
            with torch.set_grad_enabled(size == "small"):
                loss = models[size](tokens).last_hidden_state.square().mean()
            if size == "small":
                loss.backward()
        print(time.perf_counter() - started, flush=True)


@contextmanager
def running(line: list[str], environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run a program of this Python, and end it."""
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [sys.executable, "-P", *line], env=environment, stdin=pipe, stdout=pipe, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def environment_of(threads: int, spins: str) -> dict[str, str]:
    """Return the environment of a setting.

    Args:
        threads: Number of threads.
        spins: ``GOMP_SPINCOUNT``; ``default`` leaves it unset, and ``passive`` sets
            ``OMP_WAIT_POLICY`` in its place.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    for name in WAITING:
        environment.pop(name, None)
    if spins == "passive":
        environment["OMP_WAIT_POLICY"] = "PASSIVE"
    elif spins != "default":
        environment["GOMP_SPINCOUNT"] = spins
    return environment


def round_seconds(process: subprocess.Popen[str], size: str) -> float:
    """Let a process do a round of work."""
    assert process.stdin is not None
    assert process.stdout is not None
    print(size, file=process.stdin, flush=True)
    return float(process.stdout.readline())


def measure(settings: argparse.Namespace, cases: list[tuple[int, str]]) -> None:
    """Measure all cases in turn and print a line of JSON for each."""
    times: dict[tuple[str, tuple[int, str], int], list[float]] = {}
    with ExitStack() as stack:
        workers = {}
        for case in cases:
            process = running([__file__, "--work"], environment_of(*case))
            workers[case] = stack.enter_context(process)
        for worker in workers.values():
            for size in SIZES:
                round_seconds(worker, size)  # the first round does not count
        for _ in range(settings.repeats):
            for count in {0, settings.neighbours}:
                with ExitStack() as busy:
                    for _ in range(count):
                        busy.enter_context(running(["-c", BUSY], dict(os.environ)))
                    for size in SIZES:
                        for case, worker in workers.items():
                            seconds = round_seconds(worker, size)
                            times.setdefault((size, case, count), []).append(seconds)
    for size in SIZES:
        for case in cases:
            record: dict[str, object] = {"work": size, "threads": case[0], "spins": case[1]}
            alone = statistics.median(times[size, case, 0])
            beside = statistics.median(times[size, case, settings.neighbours])
            record |= {"alone": round(alone, 3), "beside": round(beside, 3)}
            print(json.dumps({**record, "ratio": round(beside / alone, 2)}))


def main() -> None:
    """Measure, or work for a process that measures."""
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--neighbours", type=int, default=cores)
    parser.add_argument("--spins", nargs="*", default=["default", "1000", "20000", "passive"])
    parser.add_argument("--work", action="store_true")
    settings = parser.parse_args()
    if settings.work:
        work()
    else:
        measure(settings, [(1, "default"), *((cores, spins) for spins in settings.spins)])


if __name__ == "__main__":
    main()
