"""The native core. Checked against the built library by stubtest.

Times are integer picoseconds, columns are little-endian bytes. `config_json` is the run description that
`servetwin.describe` builds.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, final

__all__ = ["InputError", "ReplicaView", "RouterRequest", "Run", "Trace", "__version__", "simulate"]

__version__: str

_Column: TypeAlias = Sequence[int] | bytes | Any
"""Numbers, a buffer of them in the column's width (numpy, `array`), or their little-endian bytes (Arrow's too)."""

class InputError(Exception):
    """Its arguments are file, line, field and message; the first three may be None."""

@final
class Trace:
    """The requests of a workload, immutable, one column a field."""

    @staticmethod
    def read_mooncake(
        path: str,
        *,
        text: bytes | None = None,
        block_tokens: int = 512,
        limit: int | None = None,
        speedup: float = 1.0,
        max_output_tokens: int | None = None,
        turns: str | None = None,
    ) -> Trace: ...
    @staticmethod
    def from_rows(
        file: str,
        columns: dict[str, Any],
        *,
        fields: dict[str, str],
        sha256: str,
        notes_json: str,
        block_tokens: int = 512,
        limit: int | None = None,
        speedup: float = 1.0,
        max_output_tokens: int | None = None,
        turns: str | None = None,
        as_written: bool = False,
    ) -> Trace: ...
    @staticmethod
    def generate(config_json: str) -> Trace: ...
    @staticmethod
    def merge(traces: list[Trace]) -> Trace: ...
    def transform(self, steps_json: str) -> Trace: ...
    def like(self, options_json: str) -> Trace: ...
    def bootstrap(self, options_json: str) -> Trace: ...
    def profile(self) -> dict[str, Any]: ...
    @staticmethod
    def from_columns(
        *,
        arrival_ps: _Column,
        input_tokens: _Column,
        output_tokens: _Column,
        max_output_tokens: _Column,
        priority: _Column,
        after: _Column,
        block_tokens: int,
        block_ids: _Column,
        block_offsets: _Column,
        wait_for: _Column | None = None,
        wait_offsets: _Column | None = None,
        request_ids: Sequence[str] | None = None,
        class_names: Sequence[str] | None = None,
        classes: _Column | None = None,
        failed: _Column | None = None,
        sha256: str | None = None,
        notes_json: str | None = None,
    ) -> Trace: ...
    def __len__(self) -> int: ...
    @property
    def block_tokens(self) -> int: ...
    @property
    def sha256(self) -> str: ...
    @property
    def request_ids(self) -> list[str] | None: ...
    @property
    def class_names(self) -> list[str] | None: ...
    @property
    def has_failed(self) -> bool: ...
    @property
    def has_waits(self) -> bool: ...
    @property
    def notes(self) -> dict[str, Any]: ...
    def column(self, name: str) -> bytes: ...

@final
class RouterRequest:
    """What a router may know of a request."""

    @property
    def index(self) -> int: ...
    @property
    def arrival_ps(self) -> int: ...
    @property
    def input_tokens(self) -> int: ...
    @property
    def max_output_tokens(self) -> int: ...
    @property
    def priority(self) -> int: ...
    @property
    def session(self) -> int: ...
    @property
    def cached_tokens(self) -> tuple[int, ...]:
        """By replica: the tokens of its prompt that are in the cache now."""

@final
class ReplicaView:
    """One replica, as old as the router's telemetry."""

    @property
    def index(self) -> int: ...
    @property
    def time_ps(self) -> int: ...
    @property
    def running(self) -> int: ...
    @property
    def waiting(self) -> int: ...
    @property
    def requests(self) -> int: ...
    @property
    def used_blocks(self) -> int: ...
    @property
    def free_blocks(self) -> int: ...

@final
class Run:
    """What a run left behind."""

    @property
    def status(self) -> str: ...
    @property
    def passes(self) -> int: ...
    @property
    def leaps(self) -> int: ...
    @property
    def simulate_s(self) -> float: ...
    @property
    def route_reasons(self) -> list[str]: ...
    @property
    def pass_times(self) -> list[tuple[int, int]]: ...
    def column(self, name: str) -> bytes: ...
    def series(self, name: str) -> bytes: ...
    def itl(self) -> list[tuple[int, int, int, int]]: ...
    def summary(self, options_json: str) -> str: ...
    def pass_log(self) -> str: ...

def simulate(
    trace: Trace,
    config_json: str,
    *,
    router: object | None = None,
    decode_router: object | None = None,
    progress: Callable[[float], None] | None = None,
) -> Run: ...
