"""Runs on a Ray cluster: each worker holds the study and its workload, and is sent a few runs at a time.

The workload is put into Ray's store once. Workers answer with summaries alone, and nothing of a study depends on which
worker carried out what: the same trials come out as of threads.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .._core import __version__
from ..errors import InputError, ServetwinError
from ..replication import processors
from ..spec import make_spec
from ..workload.columns import pack, unpack
from .folder import Folder
from .runs import Outcome, Run, Runner
from .space import space_of

LOCAL = "local"
"""The address that stands for a cluster of this machine alone, which is started here and stopped at the end."""

TASK_S = 0.25
"""How long a task should take: a call to a worker costs some milliseconds, which are 5 % of this at most."""

REACHABLE_S = 5.0
"""How long a cluster may take to answer at all."""


class Study:
    """What a worker holds. Runs there, in a process of its own."""

    def __init__(self, facts: Mapping[str, Any], trace: Mapping[str, Any]) -> None:
        if facts["servetwin"] != __version__:
            # Across processes a plain text is what is sure to arrive.
            raise RuntimeError(f"has servetwin {__version__} where the study is of {facts['servetwin']}")
        spec = make_spec(facts["spec"])
        spec.source.file, spec.source.directory = facts["file"], facts["directory"]
        opened = unpack(trace)
        self._runner = Runner(space_of(spec, opened), opened)

    def carry_out(self, runs: Sequence[Run]) -> list[Outcome | str]:
        """The outcomes; of a run that fails, why, and nothing after it."""
        found: list[Outcome | str] = []
        for run in runs:
            try:
                found.append(self._runner(run))
            except ServetwinError as error:
                return [*found, str(error)]
        return found


class Cluster:
    """An executor, once it holds a study. Raises InputError where Ray is not installed or cannot be reached."""

    def __init__(self, address: str, workers: int | None = None) -> None:
        self._ray = _ray()
        _connect(self._ray, address, workers)
        self._count = workers or max(int(self._ray.cluster_resources().get("CPU", 1)), 1)
        self._workers: list[Any] = []
        self._run_s = TASK_S
        """How long a run takes, by those that ended last."""

    def hold(self, folder: Folder) -> Cluster:
        """Sends the study to every worker, its workload once to each machine."""
        source = folder.spec.source
        facts = {"servetwin": __version__, "spec": source.data, "file": source.file, "directory": source.directory}
        trace = self._ray.put(pack(folder.trace))
        worker = self._ray.remote(num_cpus=1)(Study)
        self._workers = [worker.remote(facts, trace) for _ in range(self._count)]
        return self

    def results(self, runs: Sequence[Run]) -> Iterator[tuple[Run, Outcome]]:
        waiting = deque(runs)
        idle = list(self._workers)
        pending: dict[Any, tuple[Any, list[Run]]] = {}
        while waiting or pending:
            while waiting and idle:
                task = [waiting.popleft() for _ in range(self._task(len(waiting)))]
                worker = idle.pop()
                pending[worker.carry_out.remote(task)] = (worker, task)
            (done,), _ = self._ray.wait(list(pending), num_returns=1)
            worker, task = pending.pop(done)
            idle.append(worker)
            for run, outcome in zip(task, self._get(done), strict=False):
                if isinstance(outcome, str):
                    raise InputError(outcome)
                self._run_s += (outcome.simulate_s - self._run_s) / 8
                yield run, outcome

    def _task(self, left: int) -> int:
        """How many runs to send at once: as many as `TASK_S` holds, while there are enough for all workers."""
        fair = -(-left // (2 * len(self._workers)))
        return max(min(int(TASK_S / max(self._run_s, 1e-4)), fair, left), 1)

    def _get(self, task: Any) -> list[Outcome | str]:
        try:
            found: list[Outcome | str] = self._ray.get(task)
        except self._ray.exceptions.RayError as error:
            cause = str(error).strip().splitlines()[-1]
            raise InputError(
                f"a worker was lost, finished runs are kept: {cause}", field="--ray", wanted="`plan --resume` to go on"
            ) from None
        return found

    def close(self) -> None:
        for worker in self._workers:
            self._ray.kill(worker)
        self._ray.shutdown()


def _connect(ray: Any, address: str, workers: int | None) -> None:
    # A study is its user's business alone.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    if address == LOCAL:
        quiet |= {"num_cpus": workers or processors(), "include_dashboard": False}
        quiet |= {"_node_ip_address": "127.0.0.1"}
    elif address != "auto":
        _check_reachable(address)
    try:
        ray.init(address=address, **quiet)
    except Exception as error:  # Ray's own and gRPC's have no root of their own
        raise InputError(
            f"no cluster is reached: {str(error).strip().splitlines()[0]}", field="--ray", found=address, wanted=WANTED
        ) from None


WANTED = "host:port of a cluster that runs, ray://host:port, or local"


def _check_reachable(address: str) -> None:
    """Ray itself tries for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():
        raise InputError("no address", field="--ray", found=address, wanted=WANTED)
    try:
        socket.create_connection((host, int(port)), REACHABLE_S).close()
    except OSError as error:
        raise InputError(f"no cluster is reached: {error}", field="--ray", found=address, wanted=WANTED) from None


def _ray() -> Any:
    try:
        import ray
    except ImportError:
        raise InputError(
            "is not installed", field="ray", wanted="`pip install servetwin[ray]`, or no --ray: threads do the same"
        ) from None
    return ray
