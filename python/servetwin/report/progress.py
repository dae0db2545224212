"""A progress bar, for runs that take long enough to want one."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

PATIENCE_S = 1.0
"""No bar before this: most runs are over by then."""


class ProgressBar:
    """A context manager to be called with the share done. Imports and draws nothing in the first second,
    and nothing at all where standard error is no terminal."""

    def __init__(self, doing: str = "simulating") -> None:
        self._doing = doing
        self._started = time.monotonic()
        self._bar: tuple[Progress, TaskID] | None = None
        self._seen = sys.stderr is not None and sys.stderr.isatty()

    def __enter__(self) -> ProgressBar:
        return self

    def __call__(self, share: float) -> None:
        if self._bar is None:
            if not self._seen or time.monotonic() - self._started < PATIENCE_S:
                return
            self._bar = self._draw()
        progress, task = self._bar
        progress.update(task, completed=share)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar[0].stop()

    def _draw(self) -> tuple[Progress, TaskID]:
        from rich.console import Console
        from rich.progress import Progress

        progress = Progress(console=Console(stderr=True), transient=True)
        progress.start()
        return progress, progress.add_task(self._doing, total=1.0)


class Counter:
    """A context manager to be called with what was done: it counts, where the end is not known."""

    def __init__(self, what: str, *, shown: bool) -> None:
        self._what = what
        self._done = 0
        self._started = self._told = time.monotonic()
        self._shown = shown and sys.stderr is not None and sys.stderr.isatty()

    def __enter__(self) -> Counter:
        return self

    def __call__(self, done: int) -> None:
        self._done += done
        now = time.monotonic()
        if self._shown and now - self._started > PATIENCE_S and now - self._told > 0.1:
            self._told = now
            print(f"\r{self._done:,} {self._what}", end="", file=sys.stderr, flush=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._told > self._started:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
