from __future__ import annotations

import pytest

from servetwin.errors import ExitCode, InputError, ServetwinError, SpecError
from servetwin.units import PS_PER_MS, exact_ps, nearest_ps


def test_message_names_file_line_field_and_what_would_be_right() -> None:
    error = InputError("too few", file="a.jsonl", line=3, field="hash_ids", found="2", wanted="at least 4")
    assert str(error) == "a.jsonl:3: hash_ids: too few; found 2; expected at least 4"
    assert error.exit_code is ExitCode.BAD_INPUT


def test_message_without_a_place_is_the_message() -> None:
    assert str(InputError("nothing to do")) == "nothing to do"


def test_every_problem_of_a_spec_is_told() -> None:
    error = SpecError("first", file="s.yaml", line=1)
    error.others = [SpecError("second", file="s.yaml", line=2)]
    assert str(error).splitlines() == ["s.yaml:1: first", "s.yaml:2: second"]
    assert isinstance(error, ServetwinError)


@pytest.mark.parametrize(
    ("ms", "ps"), [(0.1, 10**8), (1, 10**9), (1e-9, 1), (0.123456789, 123456789), (16.50142, 16501420000)]
)
def test_decimal_milliseconds_are_exact(ms: float, ps: int) -> None:
    assert exact_ps(ms, PS_PER_MS) == ps


def test_a_fraction_of_a_picosecond_is_not_exact() -> None:
    assert exact_ps(1e-10, PS_PER_MS) is None
    assert nearest_ps(1e-10, PS_PER_MS) == 0
