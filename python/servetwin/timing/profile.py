"""`profile.yaml`: what a calibration knows, as `timing: {profile: …}` reads it and `servetwin calibrate` writes it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from ..errors import InputError
from ..files import whole_file
from ..spec import Spec
from ..spec.timing import BaseTiming, HostTiming
from .tables import Measured

VERSION = 1


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, defer_build=True)


class FittedTerm(_Part):
    """A factor, or milliseconds. `std`: its error, for factors of the logarithm."""

    value: Annotated[float, Field(ge=0)]
    std: Annotated[float, Field(ge=0)]
    low: Annotated[float, Field(ge=0)]
    high: Annotated[float, Field(ge=0)]


class Domain(_Part):
    """The passes that the measurements cover, and what made them."""

    pass_tokens: Annotated[int, Field(ge=1)]
    """Most tokens in a pass."""
    batch: Annotated[int, Field(ge=1)]
    """Most requests that decode in a pass."""
    context_tokens: Annotated[int, Field(ge=1)]
    """The longest mean context of a pass."""
    prompt_tokens: tuple[int, int]
    """Of a request, from and to."""
    requests_per_s: tuple[float, float]
    """Over a file, from and to."""

    def measured(self, other: Measured | None) -> Measured:
        """The passes within the domain and within what `other` was measured over."""
        reach = 2 * self.prompt_tokens[1]
        if other is None:
            return Measured(self.pass_tokens, (self.batch,), (self.context_tokens,), (self.pass_tokens,), (reach,))
        rows, contexts = _within(other.rows, other.contexts, self.batch, self.context_tokens)
        prompts, reaches = _within(other.prompts, other.reach, self.pass_tokens, reach)
        return Measured(min(other.tokens, self.pass_tokens), rows, contexts, prompts, reaches)


def _within(
    knots: tuple[int, ...], limits: tuple[int, ...], most: int, limit: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Limits by knot, each for what lies above the knot before it; cut at `most`, and at most `limit`."""
    kept = [(knot, min(far, limit)) for knot, far in zip(knots, limits, strict=True) if knot < most]
    beyond = [far for knot, far in zip(knots, limits, strict=True) if knot >= most]
    if beyond:
        kept.append((most, min(beyond[0], limit)))
    return tuple(knot for knot, _ in kept), tuple(far for _, far in kept)


class Made(_Part):
    """What a profile was fitted for. None: it does not matter to the timing."""

    model: str | None
    gpu: str | None
    engine: str
    tensor: int
    data: int
    pipeline: int
    expert: int

    @classmethod
    def of(cls, spec: Spec) -> Made:
        return cls(
            model=spec.model,
            gpu=spec.gpu,
            engine=spec.engine.name,
            **{name: getattr(spec.parallel, name) for name in ("tensor", "data", "pipeline", "expert")},
        )


class Source(_Part):
    """A measurement that it was fitted to. `left_out`: requests by reason."""

    file: str
    format: str
    sha256: str
    requests: int
    left_out: dict[str, int]


class Error(_Part):
    """Of a metric where nothing was fitted, as shares: of the mean, and the median over groups of requests."""

    mean: float
    median_group: float


class Profile(_Part):
    """Times are milliseconds, factors have no unit."""

    servetwin_profile: Literal[1]
    servetwin: str
    """The version that wrote it."""
    fitted_for: Made
    over: dict[str, Any]
    """The timing that the terms change, as in a spec; its path from beside this file."""
    terms: dict[str, FittedTerm]
    fixed: dict[str, str]
    """Terms that the measurements do not tell, and why."""
    correlation: list[list[float]]
    """Of the terms' errors, in their order."""
    spread: Annotated[float, Field(ge=0)]
    """Median error of held-out groups of requests that is left, as a share."""
    held_out: dict[str, Error]
    held_out_by: str
    domain: Domain
    sources: list[Source]

    @property
    def values(self) -> dict[str, float]:
        return {name: term.value for name, term in self.terms.items()}


def read_profile(file: Path) -> tuple[Profile, HostTiming]:
    """The profile, and the timing it stands on. Raises InputError."""
    try:
        stat = file.stat()
    except OSError as error:
        raise InputError(
            f"cannot be read: {error.strerror}", file=str(file), wanted="a profile that `servetwin calibrate` wrote"
        ) from None
    return _read(file, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=16)
def _read(file: Path, changed_ns: int, size: int) -> tuple[Profile, HostTiming]:
    try:
        data = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", file=str(file)) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"is no YAML: {str(error).splitlines()[0]}", file=str(file)) from None
    version = data.get("servetwin_profile") if isinstance(data, dict) else None
    if not isinstance(version, int):
        raise InputError("is no profile", file=str(file), wanted="what `servetwin calibrate` wrote")
    if version != VERSION:
        raise InputError(
            "another version's", file=str(file), field="servetwin_profile", found=str(version), wanted=str(VERSION)
        )
    try:
        profile = Profile.model_validate(data)
        over: Any = TypeAdapter(BaseTiming).validate_python(profile.over)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(first["msg"].lower(), file=str(file), field=where, found=str(first["input"])[:80]) from None
    if len(profile.correlation) != len(profile.terms) or any(
        len(row) != len(profile.terms) for row in profile.correlation
    ):
        raise InputError("needs a row and a column for each term", file=str(file), field="correlation")
    if not isinstance(over, HostTiming):
        raise InputError("cannot be calibrated", file=str(file), field="over.kind", found=str(over.kind))
    path = getattr(over, "path", None)
    if path is not None:
        over = over.model_copy(update={"path": str(file.absolute().parent / path)})
    return profile, over


def write_profile(profile: Profile, file: Path) -> None:
    """Whole or not at all. Raises InputError."""
    text = yaml.safe_dump(profile.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=110)
    with whole_file(file) as draft:
        draft.write_text(text, encoding="utf-8")
