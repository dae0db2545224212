"""Where replicas stand, and what hand-overs between them cross, as the core reads it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from .catalog import ResolvedEngine
from .catalog.speculation import head_bytes
from .catalog.stages import stage_layers
from .spec import Spec
from .spec.deployment import Cluster
from .spec.pools import Handover
from .units import PS_PER_MS, PS_PER_S, PS_PER_US, nearest_ps

PORT_LATENCY_PS = 5 * PS_PER_US
"""Of each end: 10 µs from GPU to GPU, AIConfigurator 0.12's p2p latency (b300_sxm.yaml)."""

TIMEOUT_S = {"vllm": 480.0, "sglang": 300.0}
"""See `spec.pools.Handover`."""

LAYERWISE_TIMEOUT_S = 60.0
"""Likewise."""

ORDER = {"vllm": "source_first", "sglang": "destination_first", "trtllm": "source_first"}
"""vLLM's decode replica fetches what is computed (NixlConnector), or has it sent by stages (NixlPushConnector);
SGLang's reserves room before the prompt starts. TensorRT-LLM's reserves and asks when the context is computed."""


@dataclass(frozen=True)
class Network:
    """What hand-overs cross: one named link, or a port of each replica."""

    bytes_per_token: int
    """Of KV, on all ranks of a decode replica."""
    link: str | None
    ports: Mapping[str, list[dict[str, Any]]]
    links: list[dict[str, Any]]
    written: str
    """For people."""
    tail: dict[str, int] | None = None
    """What goes with the last part of a prompt, as the core reads it."""
    layers: int | None = None
    """Of the model, where each is sent by itself."""


def network(spec: Spec, engines: Mapping[str, ResolvedEngine]) -> Network:
    """Raises SpecError where a capacity or the size of the KV is not known."""
    handover = spec.handover or Handover()
    size = _bytes_per_token(spec, handover, engines["decode"])
    tail = _tail(spec, handover, engines["decode"])
    model = engines["decode"].model
    layers = model.layers if handover.layerwise and model is not None else None
    if handover.link is not None and spec.cluster is not None:
        named = spec.cluster.links[handover.link]
        link = _link(named.gbytes_per_s * 1e9, nearest_ps(named.latency_us, PS_PER_US))
        written = f"link {handover.link}, {named.gbytes_per_s:g} GB/s"
        return Network(size, handover.link, {}, [link], written, tail, layers)
    return replace(_placed(spec, engines, size), tail=tail, layers=layers)


def _bytes_per_token(spec: Spec, handover: Handover, engine: ResolvedEngine) -> int:
    if handover.kv_bytes_per_token is not None:
        return handover.kv_bytes_per_token
    if engine.model is None:
        raise spec.source.problem(
            ("handover", "kv_bytes_per_token"), "missing", wanted="it, or a model to derive it from"
        )
    decode = spec.by_pool["decode"]
    tensor = decode.parallel.tensor
    if engine.window is not None and engine.window.counts_head:
        return round(engine.window.token_bytes * tensor)
    # SGLang appends the head's pool to the model's (disaggregation/prefill.py), vLLM has both in one.
    of_head = head_bytes(engine.model, decode.engine.drafting, engine.kv, tensor)
    if engine.window is not None:
        return round((engine.window.token_bytes + of_head) * tensor)
    return (engine.model.cache_bytes(1, engine.kv, tensor) + of_head) * tensor


def _tail(spec: Spec, handover: Handover, engine: ResolvedEngine) -> dict[str, int] | None:
    """The windows of a prompt go with its last part, in whole pages, and the states of the request with them.

    disaggregation/prefill.py (send_kv_chunk). None where each layer keeps every token, or the size of the KV is given.
    """
    window = engine.window
    if window is None or handover.kv_bytes_per_token is not None:
        return None
    tensor = spec.by_pool["decode"].parallel.tensor
    return {
        "window_tokens": window.tokens,
        "page_tokens": engine.block_tokens,
        "bytes_per_token": round(window.window_bytes * tensor),
        "state_bytes": window.request_bytes * tensor,
    }


def _placed(spec: Spec, engines: Mapping[str, ResolvedEngine], size: int) -> Network:
    for pool in spec.by_pool.values():
        if pool.parallel.data > 1:
            raise pool.source.problem(
                ("parallel", "data"),
                "hand-overs that cross the NICs of one data rank alone are not yet modelled",
                found=str(pool.parallel.data),
                wanted="1, or handover.link with its capacity in cluster.links",
            )
    cluster = spec.cluster or Cluster()
    gpus = {name: engine.gpu for name, engine in engines.items()}
    alike = len({None if gpu is None else gpu.name for gpu in gpus.values()}) == 1
    ports: dict[str, list[dict[str, Any]]] = {}
    links: list[dict[str, Any]] = []
    places = iter(list(_places(spec, cluster)))
    for name, pool in spec.by_pool.items():
        gpu, ranks = gpus[name], pool.gpus // pool.replicas
        widest = cluster.gpus_per_node if gpu is None else min(gpu.link.domain, cluster.gpus_per_node)
        size_of_domain = cluster.nvlink_domain or widest
        senders = ranks * _evenness(pool, engines[name])
        own = []
        for first in (next(places) for _ in range(pool.replicas)):
            domain, last = first // size_of_domain, (first + ranks - 1) // size_of_domain
            port: dict[str, Any] = {"nvlink_domain": domain, "nvlink": None, "nic": None}
            if gpu is not None and alike and domain == last:
                port["nvlink"] = len(links)
                links.append(_link(gpu.link.bytes_per_s * senders, PORT_LATENCY_PS))
            if cluster.nic_gbps is not None:
                port["nic"] = len(links)
                links.append(_link(cluster.nic_gbps / 8 * 1e9 * senders, PORT_LATENCY_PS))
            own.append(port)
        ports[name] = own
    _check_reach(spec, ports)
    near = {port["nvlink_domain"] for port in ports["prefill"]} & {port["nvlink_domain"] for port in ports["decode"]}
    joined = gpus["prefill"] is not None and alike and near
    ways = [gpus["prefill"].link.name] if joined and gpus["prefill"] is not None else []
    ways += [f"NICs of {cluster.nic_gbps:g} Gbit/s"] if cluster.nic_gbps is not None else []
    return Network(size, None, ports, links, " or ".join(ways))


def _evenness(spec: Spec, engine: ResolvedEngine) -> float:
    """Each stage sends its own layers, and all at once: how much of that is as fast as if they had equally many."""
    if engine.model is None:
        return 1.0
    return engine.model.layers / (spec.parallel.pipeline * max(stage_layers(spec, engine.model.layers)))


def _places(spec: Spec, cluster: Cluster) -> Iterator[int]:
    """The first GPU of each replica, in order: one that fits into what is left of a node stays in it."""
    at = 0
    for pool in spec.by_pool.values():
        ranks = pool.gpus // pool.replicas
        for _ in range(pool.replicas):
            left = -at % cluster.gpus_per_node or cluster.gpus_per_node
            at += left if left < min(ranks, cluster.gpus_per_node) else 0
            yield at
            at += ranks
    if spec.cluster is not None and at > cluster.nodes * cluster.gpus_per_node:
        raise spec.source.problem(
            ("cluster",),
            f"replicas that stay within nodes of {cluster.gpus_per_node} GPUs do not fit into {cluster.nodes} of them",
            wanted=f"{-(-at // cluster.gpus_per_node)} nodes, or other pools",
        )


def _check_reach(spec: Spec, ports: Mapping[str, list[dict[str, Any]]]) -> None:
    """Raises SpecError if a prefill and a decode replica are joined by nothing."""
    by_nic = all(port["nic"] is not None for port in ports["prefill"] + ports["decode"])
    domains = {
        name: {port["nvlink_domain"] if port["nvlink"] is not None else None for port in own}
        for name, own in ports.items()
    }
    by_nvlink = len(domains["prefill"] | domains["decode"]) == 1 and None not in domains["decode"]
    if not by_nic and not by_nvlink:
        raise spec.source.problem(
            ("handover",) if spec.handover is not None else ("pools",),
            "how fast hand-overs are is not known: not all replicas stand in one NVLink domain of known GPUs",
            wanted="cluster.nic_gbps, or handover.link with its capacity in cluster.links",
        )


def _link(bytes_per_s: float, latency_ps: int) -> dict[str, Any]:
    return {"bytes_per_s": round(bytes_per_s), "latency_ps": latency_ps}


def describe_handover(described: dict[str, Any], spec: Spec, crossed: Network) -> None:
    """Puts links, ports and times into a run's description."""
    handover = spec.handover or Handover()
    engine = spec.by_pool["decode"].engine.name
    order, timeout_s = ORDER[engine], handover.timeout_s or TIMEOUT_S.get(engine)
    if crossed.layers is not None:
        order, timeout_s = "layerwise", handover.timeout_s or LAYERWISE_TIMEOUT_S
    for pool in described["pools"]:
        pool["ports"] = crossed.ports.get(pool["role"], [])
    described["links"] = crossed.links
    described["handover"] = {
        "order": order,
        "layers": crossed.layers,
        "bootstrap_ps": nearest_ps(handover.bootstrap_ms, PS_PER_MS),
        "control_ps": nearest_ps(handover.control_ms, PS_PER_MS),
        "setup_ps": nearest_ps(handover.setup_ms, PS_PER_MS),
        "timeout_ps": None if timeout_s is None else nearest_ps(timeout_s, PS_PER_S),
        "local_prefill_tokens": handover.local_prefill_tokens,
        "pushes": spec.pushes,
        "bytes_per_token": crossed.bytes_per_token,
        "tail": crossed.tail,
        "links": [] if crossed.link is None else [0],
    }
