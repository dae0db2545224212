"""`search`: which deployments `servetwin plan` looks at, and what makes one better than another."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from .base import Count, Positive, SpecModel

OBJECTIVES = {
    "cheapest": "the fewest dollars an hour (GPUs, where no price is known) that meet the service level at this load",
    "goodput_per_gpu": "the most output tokens a second and GPU, at the highest load that meets the service level",
    "goodput_per_dollar": "the same for each dollar",
    "frontier": "all that no other beats in output tokens/s/GPU and output tokens/s/user at once, over all loads",
}


class Quality(SpecModel):
    """What lossy choices cost in quality, as measured: a figure for each, such as an evaluation's accuracy.

    `measured` is keyed by path and value, as in `{"engine.quantization=fp8": 0.952}`. A choice below `floor` is not
    looked at.
    """

    floor: float
    measured: Annotated[dict[str, float], Field(min_length=1)]


class Search(SpecModel):
    """Values by dotted path, and limits. Without `vary` a space is derived from model, GPU and `max_gpus`."""

    vary: dict[str, Annotated[list[Any], Field(min_length=1)]] | None = None
    max_gpus: Count | None = None
    max_cost_per_hour: Positive | None = None
    objective: Literal["cheapest", "goodput_per_gpu", "goodput_per_dollar", "frontier"] = "frontier"
    method: Literal["auto", "exhaustive", "nsga2", "tpe"] = "auto"
    trials: Count | None = None
    screening: bool = True
    allow_lossy: bool = False
    quality: Quality | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Search:
        for path, values in (self.vary or {}).items():
            if any(value == other for index, value in enumerate(values) for other in values[:index]):
                raise ValueError(f"vary.{path} names a value twice")
            if path.split(".")[0] in ("search", "slo", "metrics", "seed", "workload", "stall_passes"):
                raise ValueError(f"vary.{path} is no choice of a deployment")
        if self.trials is not None and self.method == "exhaustive":
            raise ValueError("trials has no effect on an exhaustive search")
        if self.quality is not None and self.allow_lossy:
            raise ValueError("quality has no effect where allow_lossy lets everything pass")
        return self
