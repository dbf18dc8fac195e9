"""Progress of a job: a bar on a terminal, lines in a log."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from mmie.utils.terminal import PlainConsole

Advance = Callable[[int], None]
"""Reports that some more posts are done."""


@contextmanager
def show_progress(total: int | None, done: int) -> Iterator[Advance]:
    """Show a progress bar on a terminal, or print a line every half minute elsewhere.

    Args:
        total: Number of posts; None if it is not known.
        done: Posts that earlier attempts have done, which do not count in the rate.
    """
    console = PlainConsole(stderr=True)
    if not console.is_terminal:
        yield LogProgress(console, total, done).advance
        return
    rate = TextColumn("{task.fields[rate]}")
    columns = (BarColumn(), MofNCompleteColumn(), rate, TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("posts", total=total, completed=done, rate="")
        started = time.monotonic()
        count = 0

        def advance(posts: int) -> None:
            nonlocal count
            count += posts
            posts_per_second = count / (time.monotonic() - started)
            progress.update(task, advance=posts, rate=f"{format_rate(posts_per_second)} posts/s")

        yield advance


class LogProgress:
    """Progress in lines for a log file.

    Args:
        console: Where the lines are printed.
        total: Number of posts; None if it is not known.
        done: Posts that earlier attempts have done.
        interval: Seconds between two lines.
    """

    def __init__(
        self, console: PlainConsole, total: int | None, done: int, interval: float = 30.0
    ) -> None:
        self.console = console
        self.total = total
        self.done = done
        self.interval = interval
        self.count = 0
        self._started = time.monotonic()
        self._last_line = self._started

    def advance(self, posts: int) -> None:
        """Count posts, and print a line if the interval is over."""
        self.count += posts
        now = time.monotonic()
        if now - self._last_line >= self.interval:
            self._last_line = now
            self._print_line(self.count / (now - self._started))

    def _print_line(self, rate: float) -> None:
        """Print the posts done, the time left and the rate in posts per second."""
        done = self.done + self.count
        remaining = ""
        if self.total is not None:
            seconds = max(0, self.total - done) / rate
            remaining = f" of {self.total}, {seconds:.0f} s left"
        self.console.print(f"{done} posts{remaining}, {format_rate(rate)} posts/s", soft_wrap=True)


def format_rate(rate: float) -> str:
    """Format a rate with at least two digits.

    >>> format_rate(156.2), format_rate(1.042)
    ('156', '1.0')
    """
    return f"{rate:.0f}" if rate >= 10 else f"{rate:.1f}"
