"""Sessions, order, GPUs and errors of Ray, with stand-ins for its packages."""

import logging
from types import SimpleNamespace

import pytest

from mmie.data.sources import SourceError
from mmie.inference.jobs.ray_cluster import (
    RayEngineError,
    errors_of_workers,
    ordered_data,
    ray_session,
    resolve_gpus,
)


class FakeRay:
    """Ray that records how it is started."""

    def __init__(self, is_running=False, error=None, gpus=0):
        self.is_running, self.error, self.gpus = is_running, error, gpus
        self.started = []

    def is_initialized(self):
        return self.is_running

    def init(self, address, **options):
        if self.error:
            raise self.error
        self.is_running = True
        self.started.append((address, options))

    def shutdown(self):
        self.is_running = False

    def cluster_resources(self):
        return {"GPU": self.gpus} if self.gpus else {}


def test_a_session_is_started_and_ended(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    ray = FakeRay()
    with ray_session(ray, None, cpus_per_actor=99.5):
        assert ray.is_running
    assert not ray.is_running
    [(address, options)] = ray.started
    assert (address, options["num_cpus"]) == ("local", 101)


def test_a_cluster_is_joined_and_a_running_session_is_kept(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "ray://environment")
    for address, expected in ((None, "ray://environment"), ("ray://given", "ray://given")):
        ray = FakeRay()
        with ray_session(ray, address, 1):
            pass
        [(joined, options)] = ray.started
        assert joined == expected
        assert "num_cpus" not in options
    running = FakeRay(is_running=True)
    with ray_session(running, None, 1):
        pass
    assert running.is_running
    assert running.started == []


def test_an_unreachable_cluster_is_named_in_one_line():
    ray = FakeRay(error=ConnectionError("no answer\nand a traceback"))
    with (
        pytest.raises(RayEngineError, match=r"^no Ray cluster at 'ray://x': no answer$"),
        ray_session(ray, "ray://x", 1),
    ):
        pass


def test_order_is_kept_and_settings_are_restored():
    context = SimpleNamespace(
        execution_options=SimpleNamespace(preserve_order=False), enable_progress_bars="before"
    )
    data = SimpleNamespace(DataContext=SimpleNamespace(get_current=lambda: context))
    level = logging.getLogger("ray.data").level
    with ordered_data(data):
        assert context.execution_options.preserve_order
        assert context.enable_progress_bars is False
    assert context.execution_options.preserve_order is False
    assert context.enable_progress_bars == "before"
    assert logging.getLogger("ray.data").level == level


@pytest.mark.parametrize(
    ("available", "wanted", "gpus"), [(0, None, 0), (4, None, 1), (4, 0.5, 0.5), (0, 0, 0)]
)
def test_gpus_of_an_actor(available, wanted, gpus):
    assert resolve_gpus(FakeRay(gpus=available), wanted) == gpus


def test_more_gpus_than_the_cluster_has_are_refused():
    with pytest.raises(RayEngineError, match=r"gpus_per_actor is 2: the Ray cluster has 1 GPUs"):
        resolve_gpus(FakeRay(gpus=1), 2)


class WorkerError(Exception):
    """An error as Ray raises it: it quotes a traceback and holds the worker's exception."""

    def __init__(self, cause):
        super().__init__("a traceback\nof many lines")
        self.cause = cause


@pytest.mark.parametrize(
    ("cause", "expected", "message"),
    [
        (SourceError("no such file\nmore"), SourceError, "no such file"),
        (ValueError("odd\nmore"), RayEngineError, "Ray stopped: ValueError: odd"),
        (WorkerError(KeyError("x")), RayEngineError, "Ray stopped: KeyError: 'x'"),
    ],
)
def test_errors_of_workers_are_raised_in_one_line(cause, expected, message):
    with pytest.raises(expected) as caught, errors_of_workers():
        raise WorkerError(cause)
    assert str(caught.value) == message
