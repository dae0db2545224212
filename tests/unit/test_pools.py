"""Pools in the spec: what is derived, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from servetwin import simulate
from servetwin.describe import resolve, run_description
from servetwin.errors import SpecError
from servetwin.report.timeline.document import timeline
from servetwin.report.timeline.window import Window
from servetwin.spec import Spec, load_spec, make_spec

EXAMPLE = Path(__file__).parents[2] / "examples" / "disaggregated.yaml"
SMALL: dict[str, Any] = {
    "gpu": "h100",
    "timing": "polynomial",
    "engine": {"max_model_len": 2048, "num_gpu_blocks": 1000},
    "pools": {"prefill": {"replicas": 2}, "decode": {"replicas": 3, "engine": {"max_num_seqs": 8}}},
    "handover": {"kv_bytes_per_token": 1000},
    "workload": {"kind": "poisson", "requests": 200, "rate_per_s": 20, "input_tokens": 500, "output_tokens": 50},
}


def description(spec: Spec) -> dict[str, Any]:
    return run_description(spec, resolve(spec), leap=True, own_router=False)


def test_a_pool_overrides_what_it_gives_and_takes_over_the_rest() -> None:
    prefill, decode = description(make_spec(SMALL))["pools"]
    assert [pool["replicas"] for pool in (prefill, decode)] == [2, 3]
    assert decode["engine"]["max_num_seqs"] == 8 != prefill["engine"]["max_num_seqs"]
    assert prefill["engine"]["num_gpu_blocks"] == decode["engine"]["num_gpu_blocks"] == 1000


def test_a_decode_pool_takes_over_kv_aware_as_dynamo_uses_it_there() -> None:
    router = {"kind": "kv_aware", "queue_threshold": 4.0, "decode_active_request_weight": 0.5}
    prefill, decode = (pool["router"] for pool in description(make_spec(SMALL | {"router": router}))["pools"])
    assert (prefill["queue_threshold"], prefill["track_prefill_tokens"]) == (4.0, True)
    assert (decode["queue_threshold"], decode["track_prefill_tokens"], decode["assume_kv_reuse"]) == (
        None,
        False,
        False,
    )
    assert decode["decode_active_request_weight"] == 0.5


def test_replicas_of_a_node_are_joined_by_nvlink_and_others_by_the_network() -> None:
    """Two GPUs a replica, four a node: prefill 0 and 1 fill the first node, decode 0 and 1 the second."""
    options = SMALL | {"parallel": {"tensor": 2}, "cluster": {"nodes": 3, "gpus_per_node": 4, "nic_gbps": 400}}
    described = description(make_spec(options))
    prefill, decode = (pool["ports"] for pool in described["pools"])
    assert [port["nvlink_domain"] for port in prefill + decode] == [0, 0, 1, 1, 2]
    speeds = {kind: described["links"][prefill[0][kind]]["bytes_per_s"] for kind in ("nvlink", "nic")}
    assert speeds == {"nvlink": 900 * 10**9, "nic": 100 * 10**9}


def test_stages_send_their_layers_at_once_and_the_fullest_ends_last() -> None:
    """Of 32 layers in three stages, one has 10 and two have 11."""
    pools = {"prefill": {"parallel": {"pipeline": 3}}, "decode": {}}
    described = description(make_spec(SMALL | {"model": "llama-3.1-8b", "pools": pools}))
    prefill, decode = (described["links"][pool["ports"][0]["nvlink"]] for pool in described["pools"])
    assert prefill["bytes_per_s"] == round(decode["bytes_per_s"] * 32 / 11)
    assert described["handover"]["pushes"] is True
    assert description(make_spec(SMALL))["handover"]["pushes"] is False


def test_a_replica_that_fits_into_a_node_does_not_straddle_two() -> None:
    pools = {"prefill": {"parallel": {"tensor": 3}}, "decode": {"parallel": {"tensor": 3}}}
    cluster = {"nodes": 2, "gpus_per_node": 5, "nic_gbps": 400, "nvlink_domain": 5}
    prefill, decode = description(make_spec(SMALL | {"pools": pools, "cluster": cluster}))["pools"]
    assert [pool["ports"][0]["nvlink_domain"] for pool in (prefill, decode)] == [0, 1]


def test_a_cluster_in_which_replicas_fit_only_across_nodes_is_refused() -> None:
    pools = {"prefill": {"replicas": 2, "parallel": {"tensor": 3}}, "decode": {"parallel": {"tensor": 3}}}
    with pytest.raises(SpecError, match="do not fit into 2 of them"):
        resolve(make_spec(SMALL | {"pools": pools, "cluster": {"nodes": 2, "gpus_per_node": 5, "nic_gbps": 400}}))


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"handover": {"link": "spine"}}, "handover.link", "a link named nowhere"),
        ({"cluster": {"links": {"spine": {"gbytes_per_s": 50}}}}, "cluster.links.spine", "nothing crosses it"),
        (
            {"cluster": {"links": {"spine": {"gbytes_per_s": 50}}}, "handover": {"link": "spin"}},
            "handover.link",
            "expected one of spine",
        ),
        ({"cluster": {"nodes": 1, "gpus_per_node": 4}}, "pools", "need 5, and it has 1 × 4 = 4"),
        ({"cluster": {"nic_gbps": 1e300}}, "cluster.nic_gbps", "equal to 8000000"),
        ({"handover": {"timeout_s": 1e-300}}, "handover.timeout_s", "equal to 0.000000001"),
        ({"replicas": 4}, "replicas", "never read beside pools"),
        (
            {
                "pools": {
                    name: {"timing": {"kind": "linear", "base_ms": 1, "stream_ms": 2}} for name in ("prefill", "decode")
                }
            },
            "pools.prefill.timing.stream_ms",
            "never read: tokens come from the decode pool",
        ),
        ({"pools": None}, "handover", "never read without pools"),
        ({"pools": {"prefill": {}}}, "pools.decode", "missing"),
        ({"pools": {"prefill": {}, "decode": {}, "spare": {}}}, "pools.spare", "unknown key"),
        (
            {"pools": {"prefill": {"engine": {"max_num_seq": 8}}, "decode": {}}},
            "pools.prefill.engine.max_num_seq",
            "mean",
        ),
        ({"pools": {"prefill": {"gpu": "h1000"}, "decode": {}}}, "pools.prefill.gpu", "unknown GPU"),
        ({"pools": {"prefill": {}, "decode": {"engine": {"version": "0.19"}}}}, "pools", "cannot hand over to"),
        (
            {"pools": {"prefill": {}, "decode": {"router": {"kind": "kv_aware", "track_prefill_tokens": True}}}},
            None,
            "computed|compute",
        ),
        (
            {"pools": {"prefill": {"parallel": {"pipeline": 2}}, "decode": {"parallel": {"pipeline": 2}}}},
            None,
            "connector refuses pipeline stages",
        ),
        ({"handover": {"timeout_s": 0}}, "handover.timeout_s", "equal to 0.000000001"),
        ({"handover": {}}, "handover.kv_bytes_per_token", "missing"),
        ({"gpu": None}, "handover", "how fast hand-overs are is not known"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], field: str | None, message: str) -> None:
    options = {name: value for name, value in (SMALL | changes).items() if value is not None}
    with pytest.raises(SpecError, match=message) as error:
        resolve(make_spec(options))
    assert field is None or error.value.field == field


def test_a_pool_that_cannot_hold_the_model_is_named() -> None:
    with pytest.raises(SpecError, match="in the prefill pool: does not fit") as error:
        resolve(load_spec(EXAMPLE, ["model=llama-3.1-70b"]))
    assert error.value.field == "model"


def test_results_tell_of_both_pools(tmp_path: Path) -> None:
    result = simulate(SMALL)
    rows = result.requests.to_pylist()
    assert {row["prefill_replica"] for row in rows} == {0, 1}
    assert {row["replica"] for row in rows} == {2, 3, 4}
    assert all(row["prefilled_ps"] < row["transfer_end_ps"] < row["first_token_ps"] for row in rows)
    assert result.summary["handovers"] == 200
    assert 0 < result.summary["busy.decode"] <= 1
    ttft = [row["first_token_ps"] - row["arrival_ps"] for row in rows]
    assert result.summary["ttft_ms.mean"] == pytest.approx(sum(ttft) / len(ttft) / 1e9)
    assert "replicas" not in result.provenance["spec"]
    result.write(tmp_path / "out")
    events = json.loads("".join(timeline(result, Window())))["traceEvents"]
    computed = [event for event in events if event.get("name") == "prefill"]
    assert len(computed) == 200
    assert {event["pid"] for event in computed} == {1, 2}


def test_the_same_pools_without_handovers_between_nodes_are_faster() -> None:
    """A slow link makes first tokens later, and nothing else."""
    slow = {
        "cluster": {"links": {"spine": {"gbytes_per_s": 0.01}}},
        "handover": {"kv_bytes_per_token": 1000, "link": "spine"},
    }
    near, far = simulate(SMALL), simulate(SMALL | slow)
    assert far.summary["transfer_ms.p50"] > 40 > near.summary["transfer_ms.p50"]
    assert far.summary["ttft_ms.mean"] > near.summary["ttft_ms.mean"] + 40


def test_a_decode_pool_may_have_a_front_end_of_its_own() -> None:
    """What it does not give is nothing on the way in, and the other's on the way out."""
    timing = {"kind": "linear", "base_ms": 1}
    shared = timing | {"request_ms": 1, "stream_ms": 3}
    pools = {"prefill": {}, "decode": {"timing": timing | {"request_ms": 2, "prompt_token_us": 5}}}
    described = description(make_spec(SMALL | {"timing": shared, "pools": pools}))
    assert described["front"] == {"request_ps": 10**9, "prompt_token_ps": 0, "stream_ps": 3 * 10**9}
    assert described["pools"][1]["front"] == {"request_ps": 2 * 10**9, "prompt_token_ps": 5 * 10**6}, "of its own"
    pools["decode"]["timing"]["stream_ms"] = 4
    assert description(make_spec(SMALL | {"timing": shared, "pools": pools}))["front"]["stream_ps"] == 4 * 10**9
    alike = description(make_spec(SMALL | {"timing": shared, "pools": {"prefill": {}, "decode": {}}}))
    assert alike["pools"][1]["front"] == {"request_ps": 0, "prompt_token_ps": 0}, "all pass one front end, once"


LAYERWISE: dict[str, Any] = {**SMALL, "model": "llama-3.1-8b", "handover": {"layerwise": True}}


def test_layers_are_those_of_the_model() -> None:
    handover = description(make_spec(LAYERWISE))["handover"]
    assert (handover["order"], handover["layers"], handover["timeout_ps"]) == ("layerwise", 32, 60 * 10**12)
    assert description(make_spec(SMALL))["handover"]["order"] == "source_first"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"engine": {"name": "sglang", "max_total_tokens": 20000}}, "sends what a pass has computed when the pass is"),
        ({"model": None, "handover": {"layerwise": True, "kv_bytes_per_token": 1000}}, "how many layers there are"),
        (
            {"pools": {"prefill": {"parallel": {"pipeline": 2}}, "decode": {}}, "timing": "analytic"},
            "stages that send layer by layer",
        ),
    ],
    ids=["SGLang", "without a model", "stages"],
)
def test_layers_need_an_engine_that_sends_them_and_a_model(changes: dict[str, Any], message: str) -> None:
    options = {name: value for name, value in (LAYERWISE | changes).items() if value is not None}
    if options["engine"].get("name") == "sglang":
        options["pools"] = {"prefill": {"replicas": 2}, "decode": {"replicas": 3}}
    with pytest.raises(SpecError, match=message):
        resolve(make_spec(options))


def test_layers_hide_hand_overs_but_for_the_last() -> None:
    spec = {**LAYERWISE, "timing": "analytic", "engine": {"max_model_len": 2048}, "seed": 3}
    apart, hidden = (simulate(make_spec({**spec, "handover": {"layerwise": layers}})) for layers in (False, True))
    assert hidden.summary["handover_ms.mean"] < apart.summary["handover_ms.mean"]
    assert hidden.summary["output_tokens"] == apart.summary["output_tokens"]
