"""Launch files: what they start is the deployment, as the readers of such files understand it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from servetwin.catalog.named import MODELS, model_name
from servetwin.catalog.published import REPOSITORIES
from servetwin.cli import app
from servetwin.deploy import TARGETS, differences, write
from servetwin.errors import InputError
from servetwin.launch import find_command, import_file, import_line, split
from servetwin.launch.table import ENGINES
from servetwin.launch.words import statements
from servetwin.simulation import simulate
from servetwin.spec import Spec, make_spec

SMALL = {"model": "llama-3.1-8b", "gpu": "h100"}
POOLS = {"pools": {"prefill": {"replicas": 2}, "decode": {"replicas": 3}}, "cluster": {"nic_gbps": 400}}
OF_CLUSTERS = {
    "vllm": ("dynamo", "llm-d", "kserve", "ray"),
    "sglang": ("dynamo", "llm-d", "kserve"),
    "trtllm": ("dynamo",),
}


def spec_of(engine: dict[str, Any] | str = "vllm", **more: Any) -> Spec:
    options = {"name": engine} if isinstance(engine, str) else engine
    return make_spec({**SMALL, "engine": options, **more})


def command_of(files: dict[str, str], name: str = "serve.sh") -> Any:
    return find_command(statements(files[name]))


OPTIONS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "vllm": {
        "max_num_seqs": st.integers(1, 4096),
        "max_num_batched_tokens": st.integers(16384, 65536),
        "max_model_len": st.integers(64, 16384),
        "block_size": st.sampled_from([16, 32, 64]),
        "gpu_memory_utilization": st.sampled_from([0.8, 0.9, 0.95]),
        "kv_cache_dtype": st.sampled_from(["auto", "fp8"]),
        "quantization": st.just("fp8"),
        "enable_prefix_caching": st.booleans(),
        "async_scheduling": st.booleans(),
        "scheduling_policy": st.sampled_from(["fcfs", "priority"]),
        "watermark": st.sampled_from([0.0, 0.01, 0.5]),
        "scheduler_reserve_full_isl": st.booleans(),
        "cudagraph_mode": st.sampled_from(["NONE", "FULL_DECODE_ONLY"]),
    },
    "sglang": {
        "max_running_requests": st.integers(8, 4096),
        "chunked_prefill_size": st.sampled_from([-1, 2048, 8192]),
        "max_prefill_tokens": st.integers(1024, 32768),
        "context_length": st.integers(64, 16384),
        "page_size": st.sampled_from([1, 16, 64]),
        "mem_fraction_static": st.sampled_from([0.7, 0.85]),
        "kv_cache_dtype": st.sampled_from(["auto", "fp8_e4m3", "fp8_e5m2"]),
        "schedule_policy": st.sampled_from(["fcfs", "lpm"]),
        "disable_overlap_schedule": st.just(True),
        "disable_cuda_graph_padding": st.just(True),
        "cuda_graph_bs_decode": st.lists(st.integers(1, 512), min_size=1, max_size=4, unique=True).map(sorted),
    },
    "trtllm": {
        "max_batch_size": st.integers(1, 512),
        "max_num_tokens": st.integers(2048, 32768),
        "max_seq_len": st.integers(64, 16384),
        "enable_chunked_prefill": st.just(True),
        "kv_cache_config": st.fixed_dictionaries(
            {}, optional={"enable_block_reuse": st.booleans(), "dtype": st.sampled_from(["auto", "fp8"])}
        ),
        "scheduler_config": st.just({"capacity_scheduler_policy": "MAX_UTILIZATION"}),
        "cuda_graph_config": st.just({"enable_padding": True, "max_batch_size": 64}),
    },
}


@pytest.mark.parametrize("engine", ENGINES)
@given(data=st.data())
def test_a_script_starts_the_deployment(engine: str, data: st.DataObject, tmp_path_factory: Any) -> None:
    """Read back as any launch script is, it is the same spec."""
    options = data.draw(st.fixed_dictionaries({}, optional=OPTIONS[engine]))
    parallel = data.draw(st.fixed_dictionaries({}, optional={"tensor": st.sampled_from([1, 2, 4])}))
    spec = spec_of({"name": engine, **options}, parallel=parallel)
    folder = tmp_path_factory.mktemp("launch")
    for name, text in write(spec, engine).files.items():
        (folder / name).write_text(text, encoding="utf-8")
    imported = import_file(folder / "serve.sh", container=None, gpu="h100")
    again = make_spec(imported.spec)
    assert again.engine == spec.engine
    assert again.parallel == spec.parallel
    assert model_name(again.model or "") == spec.model
    assert differences(spec, folder / "serve.sh", container=None) == []


@pytest.mark.parametrize(
    ("engine", "parallel", "options"),
    [
        ("vllm", {"data": 8, "expert": 8}, {}),
        ("vllm", {"tensor": 2, "data": 4, "expert": 8}, {}),
        ("sglang", {"tensor": 2, "data": 4, "expert": 8}, {"enable_dp_attention": True}),
        ("trtllm", {"tensor": 8, "expert": 4}, {}),
    ],
)
def test_ranks_are_what_the_engine_counts(engine: str, parallel: dict[str, int], options: dict[str, Any]) -> None:
    spec = make_spec({"model": "qwen3-235b-a22b", "gpu": "h200", "parallel": parallel,
                      "engine": {"name": engine, **options}})  # fmt: skip
    files = write(spec, engine).files
    if engine == "trtllm":
        assert yaml.safe_load(files["engine.yaml"]) == {"tensor_parallel_size": 8, "moe_expert_parallel_size": 4}
    else:
        made = import_line(command_of(files)).spec["parallel"]
        assert {name: size for name, size in made.items() if size > 1} == parallel


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_pools_are_two_sides_of_a_hand_over(engine: str) -> None:
    files = write(spec_of({"name": engine}, **POOLS), engine).files
    for role, replicas in (("prefill", 2), ("decode", 3)):
        script = files[f"{role}.sh"]
        assert f"count=${{2:-{replicas}}}" in script
        assert "kv-transfer-config" in script if engine == "vllm" else f"--disaggregation-mode {role}" in script
    assert files["router.sh"].count("--prefill http") == 2
    assert files["router.sh"].count("--decode http") == 3


def test_pools_of_trtllm_have_a_file_of_options_each() -> None:
    written = write(spec_of({"name": "trtllm"}, **POOLS, router="least_requests"), "trtllm")
    prefill, decode, servers = (
        yaml.safe_load(written.files[f"{name}.yaml"]) for name in ("prefill", "decode", "disagg")
    )
    assert prefill == {"disable_overlap_scheduler": True, "cache_transceiver_config": {"backend": "DEFAULT"}}
    assert decode == {"cache_transceiver_config": {"backend": "DEFAULT"}}
    assert "--config decode.yaml" in written.files["decode.sh"]
    assert servers["context_servers"]["urls"] == ["localhost:8100", "localhost:8101"]
    assert servers["generation_servers"]["router"] == {"type": "load_balancing", "use_tokens": False}
    assert "trtllm-serve disaggregated --config_file disagg.yaml" in written.files["router.sh"]
    assert written.notes == []
    (note,) = write(spec_of("trtllm", **POOLS, router="kv_aware"), "trtllm").notes
    assert "kv_aware is no policy" in note


@pytest.mark.parametrize(("gpus", "decode"), [(8, ["4,5", "6,7"]), (4, ["0,1", "2,3"])], ids=["one", "two"])
def test_pools_on_one_machine_have_gpus_of_their_own(gpus: int, decode: list[str], tmp_path: Path) -> None:
    """On two machines each begins with the first."""
    pools = {role: {"replicas": 2, "parallel": {"tensor": 2}} for role in ("prefill", "decode")}
    files = write(spec_of(pools=pools, cluster={"nodes": 2, "gpus_per_node": gpus, "nic_gbps": 400}), "vllm").files
    stub = tmp_path / "vllm"
    stub.write_text('#!/bin/sh\necho "$CUDA_VISIBLE_DEVICES"\n')
    stub.chmod(0o755)

    def seen(role: str) -> list[str]:
        script = files[f"{role}.sh"].replace("kill 0", "")
        path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        done = subprocess.run(["bash", "-c", script], env=path, check=True, capture_output=True, text=True)
        return sorted(done.stdout.split())

    assert seen("prefill") == ["0,1", "2,3"]
    assert seen("decode") == decode


def test_dynamo_tells_workers_of_trtllm_their_part() -> None:
    parts = list(yaml.safe_load_all(write(spec_of("trtllm", **POOLS), "dynamo").files["dynamo.yaml"]))
    maps = [part["metadata"]["name"] for part in parts if part["kind"] == "ConfigMap"]
    assert len(set(maps)) == 2
    workers = [one["podTemplate"]["spec"] for one in parts[-1]["spec"]["components"][1:]]
    for worker, role, name in zip(workers, ("prefill", "decode"), maps, strict=True):
        arguments = worker["containers"][0]["args"]
        assert arguments[arguments.index("--disaggregation-mode") + 1] == role
        assert arguments[arguments.index("--extra-engine-args") + 1].endswith(f"/{role}.yaml")
        assert worker["volumes"][0]["configMap"]["name"] == name


def test_layers_need_a_proxy_that_is_not_written() -> None:
    with pytest.raises(InputError, match="layer by layer"):
        write(spec_of(**POOLS, handover={"layerwise": True}), "vllm")


def test_stages_push() -> None:
    staged = {"prefill": {"parallel": {"pipeline": 2}}, "decode": {}}
    for pools, connector in ((POOLS["pools"], "NixlConnector"), (staged, "NixlPushConnector")):
        files = write(spec_of({"name": "vllm"}, pools=pools), "vllm").files
        assert all(connector in files[f"{role}.sh"] for role in ("prefill", "decode"))


@pytest.mark.parametrize(("engine", "target"), [(name, one) for name in OF_CLUSTERS for one in OF_CLUSTERS[name]])
def test_manifests_hold_what_the_script_says(engine: str, target: str) -> None:
    """Any of them is YAML, starts as many replicas with as many GPUs, and tells the engine the same."""
    options = {"trtllm": {"max_batch_size": 77}, "vllm": {"max_num_seqs": 77}, "sglang": {"max_running_requests": 77}}
    spec = spec_of({"name": engine, **options[engine]}, replicas=3, parallel={"tensor": 2})
    text = "\n---\n".join(text for name, text in write(spec, target).files.items() if name.endswith(".yaml"))
    documents = [one for one in yaml.safe_load_all(text) if one is not None]
    assert {"replicas": 3} in [
        {key: one[key]} for one in all_mappings(documents) for key in one if key == "replicas"
    ] or (target == "ray" and "num_replicas: 3" in text)
    assert target == "ray" or "nvidia.com/gpu: '2'" in text
    assert "77" in text


def all_mappings(node: Any) -> list[dict[str, Any]]:
    inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return ([node] if isinstance(node, dict) else []) + [one for part in inner for one in all_mappings(part)]


def test_a_manifest_of_deployments_is_read_back(tmp_path: Path) -> None:
    spec = spec_of({"name": "vllm", "max_num_seqs": 99}, replicas=3)
    file = tmp_path / "modelserver.yaml"
    file.write_text(write(spec, "llm-d").files["modelserver.yaml"], encoding="utf-8")
    assert differences(spec, file, container=None) == []
    changed = differences(spec_of({"name": "vllm", "max_num_seqs": 98}, replicas=4), file, container=None)
    assert [(one.field, one.now, one.then) for one in changed] == [("engine.max_num_seqs", 99, 98), ("replicas", 3, 4)]


@pytest.mark.parametrize("pools", [{}, POOLS])
def test_dynamo_is_told_how_to_route(pools: dict[str, Any]) -> None:
    router = {"kind": "kv_aware", "temperature": 0.5, "use_kv_events": True}
    spec = spec_of("vllm", router=router, **(pools if pools else {"replicas": 2}))
    frontend, *workers = yaml.safe_load(write(spec, "dynamo").files["dynamo.yaml"])["spec"]["components"]
    values = {one["name"]: one["value"] for one in frontend["podTemplate"]["spec"]["containers"][0]["env"]}
    assert values == {"DYN_ROUTER_MODE": "kv", "DYN_ROUTER_TEMPERATURE": "0.5", "DYN_ROUTER_USE_KV_EVENTS": "true"}
    arguments = [worker["podTemplate"]["spec"]["containers"][0]["args"] for worker in workers]
    assert ["--kv-events-config" in one for one in arguments] == ([True, False] if pools else [True])


def test_llm_d_is_given_its_own_scorers() -> None:
    spec = spec_of("vllm", replicas=2, router={"kind": "llm_d", "prefix_cache_scorer_weight": 6})
    values = yaml.safe_load(write(spec, "llm-d").files["router.values.yaml"])["router"]["epp"]
    picker = yaml.safe_load(values["pluginsCustomConfig"][values["pluginsConfigFile"]])
    weights = {one["pluginRef"]: one.get("weight") for one in picker["schedulingProfiles"][0]["plugins"]}
    assert weights == {
        "queue-scorer": 2,
        "kv-cache-utilization-scorer": 2,
        "prefix-cache-scorer": 6,
        "max-score-picker": None,
    }
    assert {one["type"] for one in picker["plugins"]} >= set(weights)


def test_drafts_need_their_weights() -> None:
    engine = {"name": "vllm", "speculative": {"method": "eagle3", "num_speculative_tokens": 3, "acceptance": 0.7}}
    with pytest.raises(InputError, match="the head that drafts"):
        write(spec_of(engine), "vllm")
    words = command_of(write(spec_of(engine), "vllm", draft_model="a/head").files).arguments
    told = json.loads(words[words.index("--speculative-config") + 1])
    assert told == {"method": "eagle3", "num_speculative_tokens": 3, "model": "a/head"}


def test_every_model_has_a_repository() -> None:
    assert REPOSITORIES.keys() == MODELS.keys()
    assert all(model_name(repository) == name for name, repository in REPOSITORIES.items())


@pytest.mark.parametrize(
    ("spec", "target", "given", "told"),
    [
        ({"engine": {"name": "sglang"}}, "vllm", {}, "runs SGLang"),
        ({}, "nowhere", {}, "no such target"),
        ({"engine": {"name": "trtllm"}}, "llm-d", {}, "not written for this engine"),
        ({"engine": {"name": "sglang"}, **POOLS}, "kserve", {}, "in pools"),
        ({"engine": {"name": "sglang"}}, "ray", {}, "starts vLLM alone"),
        ({}, "vllm", {"image": "x"}, "there is no container"),
        ({}, "vllm", {"draft_model": "x"}, "nothing drafts"),
        ({"parallel": {"tensor": 16}}, "vllm", {}, "16 GPUs on machines with 8"),
    ],
)
def test_what_cannot_be_written_is_refused(spec: dict[str, Any], target: str, given: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        write(make_spec({**SMALL, **spec}), target, **given)


@pytest.mark.parametrize("target", [target for target in TARGETS if target not in ("sglang", "trtllm")])
def test_the_command_writes_a_folder_that_can_be_replayed(target: str, tmp_path: Path) -> None:
    file = tmp_path / "spec.yaml"
    workload = {"kind": "poisson", "rate_per_s": 5, "requests": 20, "input_tokens": 100, "output_tokens": 10,
                "max_output_tokens": 50}  # fmt: skip
    file.write_text(yaml.safe_dump({**SMALL, "replicas": 2, "workload": workload}), encoding="utf-8")
    out = tmp_path / "out"
    ran = CliRunner().invoke(app, ["deploy", str(file), "--to", target, "--out", str(out)])
    assert ran.exit_code == 0, ran.output
    for script in out.glob("*.sh"):
        assert subprocess.run(["bash", "-n", str(script)], check=False).returncode == 0
    assert simulate(file).summary == simulate(out / "spec.yaml").summary
    ran = CliRunner().invoke(app, ["deploy", str(file), "--out", str(out)])
    assert ran.exit_code == 2
    assert "is there already" in ran.output


def test_split_words_survive_a_shell() -> None:
    """A value in JSON is one word again."""
    files = write(spec_of({"name": "vllm", "cudagraph_mode": "NONE"}), "vllm").files
    assert split(files["serve.sh"])
    assert 'compilation-config \'{"cudagraph_mode": "NONE"}\'' in files["serve.sh"]
