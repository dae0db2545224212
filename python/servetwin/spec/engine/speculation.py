"""Speculative decoding: what every engine's options say of it, and what none says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from ..base import CountOrZero, Milliseconds, Share, SpecModel
from ..lines import KeyPath

DRAFTS_MAX = 8
"""Of a drafting head; n-grams cost nothing and may be longer."""
NGRAM_DRAFTS_MAX = 64


class Acceptance(SpecModel):
    """How many drafts of a pass are accepted.

    The same chance for `each` draft, or a list of them (`conditional`), each if those before it were accepted; the
    mean number of tokens that a pass gives, the one that needs no draft among them; or a cycle of counts.
    """

    each: Share | None = None
    conditional: Annotated[list[Share], Field(min_length=1)] | None = None
    mean_length: Annotated[float, Field(ge=1)] | None = None
    cycle: Annotated[list[CountOrZero], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _one_form(self) -> Acceptance:
        if [self.each, self.conditional, self.mean_length, self.cycle].count(None) != 3:
            raise ValueError("needs exactly one of `each`, `conditional`, `mean_length` and `cycle`")
        return self

    def fault(self, drafts: int) -> tuple[str, str, str] | None:
        """If it is not one of `drafts` drafts in a row: the field, what was found, and what would be right."""
        if self.cycle is not None and max(self.cycle) > drafts:
            return "cycle", f"{max(self.cycle)} drafts accepted", f"at most {drafts}, which are made"
        if self.conditional is not None and len(self.conditional) != drafts:
            return "conditional", f"{len(self.conditional)} chances", f"one for each of {drafts} drafts"
        if self.mean_length is not None and self.mean_length > drafts + 1:
            return "mean_length", f"{self.mean_length:g}", f"at most {drafts + 1}: {drafts} drafts and one token more"
        return None


class Speculation(SpecModel):
    """What no engine's options tell: how well drafts do, and what they cost.

    A number for `acceptance` is the chance of `each` draft. Costs that are not given are the timing's: `analytic`
    derives them from the model's sizes; under others drafts cost nothing.
    """

    acceptance: Acceptance
    draft_ms: Milliseconds | None = None
    draft_token_ms: Milliseconds | None = None
    verify_token_ms: Milliseconds | None = None

    @field_validator("acceptance", mode="before")
    @classmethod
    def _one_chance_for_all(cls, value: Any) -> Any:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return {"each": value}
        return value


@dataclass(frozen=True)
class Drafting:
    """One engine's speculation, whatever its options are called."""

    options: Speculation
    field: KeyPath
    """Where the spec gives what no option tells."""
    method: KeyPath
    head: Literal["none", "eagle", "mtp"]
    """Layers that drafts come from."""
    steps: int
    """Drafts one after the other: the most that are accepted."""
    drafts: int
    """That each request verifies in a pass: more than `steps` in a tree."""
