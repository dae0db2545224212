"""What the command line says of an exception, and the exit code it stands for."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import traceback
from pathlib import Path

from ..errors import ExitCode, ServetwinError, of_router, printable

PACKAGE = Path(__file__).resolve().parents[1]

INTERRUPTED = 130
"""As a shell reports a process that Ctrl-C ended."""


def tell(message: str) -> None:
    """One message on standard error, whoever reads it."""
    with contextlib.suppress(OSError, AttributeError):
        print(f"servetwin: {printable(message)}", file=sys.stderr, flush=True)


def report(error: BaseException) -> int | None:
    """Tells what went wrong and returns the exit code; None for what is a defect, and shall show its traceback."""
    if isinstance(error, KeyboardInterrupt):
        tell("interrupted")
        return INTERRUPTED
    if isinstance(error, ServetwinError):
        tell("\n  ".join([str(error), *getattr(error, "__notes__", ())]))
        return int(error.exit_code)
    if of_router(error):
        tell(router_failure(error))
        return int(ExitCode.BAD_INPUT)
    if isinstance(error, BrokenPipeError):
        # The reader has left; what it did not want is no error. Nor shall the last flush be one.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return int(ExitCode.DONE)
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        tell(f"{error.filename}: {error.strerror}")  # by whoever was the first to look for it
        return int(ExitCode.BAD_INPUT)
    if isinstance(error, OSError) and error.filename is None:
        # Files carry their name: this is the terminal, or what stands in its place.
        tell(f"standard output cannot be written: {error.strerror}")
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return int(ExitCode.BAD_INPUT)
    return None


def router_failure(error: BaseException) -> str:
    """What a user's router raised, where in their own code, and the note of the request and the time."""
    what = f"{type(error).__name__}: {error}".removesuffix(": ")
    frames = "".join(traceback.format_list(_users_frames(error))).splitlines()
    notes = (f"  {note}" for note in getattr(error, "__notes__", ()))
    return "\n".join([f"the router failed: {what}", *frames, *notes])


def _users_frames(error: BaseException) -> traceback.StackSummary:
    """The frames below the last one of this package, but for those of Python's import."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [i for i, frame in enumerate(frames) if PACKAGE in Path(frame.filename).parents]
    below = frames[ours[-1] + 1 :] if ours else frames
    return traceback.StackSummary.from_list([frame for frame in below if not frame.filename.startswith("<frozen ")])
