"""Finding a router of one's own."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from servetwin.errors import SpecError
from servetwin.policy import Choice, LeastRequests, RoundRobin, load_router
from servetwin.spec import load_spec, make_spec
from servetwin.spec.router import PythonRouter


@dataclass(frozen=True)
class Request:
    index: int = 0
    arrival_ps: int = 0
    input_tokens: int = 1
    max_output_tokens: int = 1
    priority: int = 0


@dataclass(frozen=True)
class Replica:
    index: int
    waiting: int
    time_ps: int = 0
    running: int = 0
    used_blocks: int = 0
    free_blocks: int = 10

    @property
    def requests(self) -> int:
        return self.running + self.waiting


REPLICAS = [Replica(0, 3), Replica(1, 1), Replica(2, 1)]


def find(text: str) -> object:
    spec = make_spec({"router": {"kind": "python", "object": text}})
    assert isinstance(spec.router, PythonRouter)
    return load_router(spec, spec.router)


def test_built_in_routers_choose() -> None:
    assert LeastRequests().route(Request(), REPLICAS) == Choice(1, "fewest requests")
    turns = RoundRobin()
    assert [turns.route(Request(), REPLICAS).replica for _ in range(4)] == [0, 1, 2, 0]


def test_example_router_is_found_beside_its_spec(examples: Path) -> None:
    spec = load_spec(examples / "custom_router.yaml")
    assert isinstance(spec.router, PythonRouter)
    router = load_router(spec, spec.router)
    assert {router.route(Request(i), REPLICAS).replica for i in range(9)} == {0, 1, 2}


def test_a_module_is_found_by_name() -> None:
    assert isinstance(find("servetwin.policy:RoundRobin"), RoundRobin)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("nowhere.py:A", "no file"),
        ("servetwin.nowhere:A", "no module"),
        ("servetwin.policy:Nobody", "defines no Nobody"),
        ("servetwin.units:GIB", "not a router"),
    ],
)
def test_what_is_no_router_is_refused(text: str, what: str) -> None:
    with pytest.raises(SpecError, match=what) as caught:
        find(text)
    assert caught.value.field == "router.object"


def test_errors_of_the_users_module_pass_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_router.py").write_text("import a_module_that_is_not_there\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError, match="a_module_that_is_not_there"):
        find("broken_router:A")
    sys.modules.pop("broken_router", None)


def test_what_a_routers_module_raises_is_noted(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("1 / 0\n")
    with pytest.raises(ZeroDivisionError) as caught:
        find(f"{tmp_path}/broken.py:A")
    assert caught.value.__notes__ == [f"in the router's file {tmp_path}/broken.py, as it was imported"]


def test_a_router_that_needs_arguments_is_noted(tmp_path: Path) -> None:
    (tmp_path / "needy.py").write_text("class A:\n    def __init__(self, size): ...\n    def route(self): ...\n")
    with pytest.raises(TypeError, match="size") as caught:
        find(f"{tmp_path}/needy.py:A")
    assert caught.value.__notes__ == ["in the router's A(), called without arguments"]
