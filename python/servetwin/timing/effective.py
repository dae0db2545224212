"""The timing that a spec means where it names a profile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..spec import Spec
from ..spec.timing import HostTiming, ProfileTiming, RequestTiming, Timing

if TYPE_CHECKING:
    from .profile import Profile


def base_timing(spec: Spec) -> Timing:
    """The spec's timing; of a profile, the one that it stands on, with what the profile says of the front end.

    Raises SpecError for a profile fitted to something else, InputError for one that cannot be read.
    """
    options = spec.timing
    if not isinstance(options, ProfileTiming):
        return options
    from .terms import REQUEST

    profile, over = spec_profile(spec, options)
    fitted = {name: profile.values[name] for name in (REQUEST,) if name in profile.values}
    timing: Timing = over.model_copy(update=fitted)  # type: ignore[assignment]
    return timing


def spec_profile(spec: Spec, options: ProfileTiming) -> tuple[Profile, HostTiming]:
    """The profile that the spec names, and the timing it stands on. Raises SpecError for one fitted to something
    else."""
    from .profile import Made, read_profile  # models that most specs need not build

    profile, over = read_profile(spec.source.path(("timing", "profile"), options.profile))
    here = Made.of(spec)
    for name in Made.model_fields:
        found, fitted = getattr(here, name), getattr(profile.fitted_for, name)
        if found != fitted:
            raise spec.source.problem(
                ("timing", "profile"),
                f"was fitted to measurements with {name} {fitted}, and the spec has {found}",
                wanted="the same, or a profile of its own",
            )
    return profile, over


def front_end(spec: Spec) -> dict[str, float]:
    """What the front end takes, by the names of `RequestTiming`."""
    timing = base_timing(spec)
    return {name: getattr(timing, name) for name in RequestTiming.model_fields}
