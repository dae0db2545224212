"""Launch lines and manifests, read as specs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from servetwin.catalog import resolve_engine
from servetwin.errors import InputError
from servetwin.launch import Imported, find_command, find_table, import_file, import_line, split
from servetwin.launch.table import ENGINES, VERSIONS
from servetwin.launch.write import yaml_text
from servetwin.spec import Spec, load_spec, make_spec
from servetwin.spec.check_sglang import OF_DECODE_REPLICAS
from servetwin.spec.fields import kinds_at

VLLM = "vllm serve meta-llama/Llama-3.1-8B"
SGLANG = "python -m sglang.launch_server --model-path meta-llama/Llama-3.1-8B"
TRTLLM = "trtllm-serve meta-llama/Llama-3.1-8B"


def imported(line: str, **given: Any) -> Imported:
    return import_line(find_command(split(line)), **given)


def engine(line: str, **given: Any) -> dict[str, Any]:
    made = imported(line, **given).spec["engine"]
    return {key: value for key, value in made.items() if key not in ("name", "version")}


def problem(line: str, **given: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        imported(line, **given)
    return caught.value


def one_model(annotation: Any) -> Any:
    """Without the None that it may also be."""
    return next((part for part in get_args(annotation) if part is not type(None)), annotation)


@pytest.mark.parametrize(("name", "version"), [(name, version) for name in ENGINES for version in VERSIONS[name]])
def test_a_table_is_whole(name: str, version: str) -> None:
    """Each flag stands once, each alias and switch is of a flag, and what is modelled is a field of the spec."""
    table = find_table(name, version)
    everywhere = [flag for one in VERSIONS[name] for flag in find_table(name, one).flags]
    assert set(table.aliases.values()) <= {*everywhere, "config"}
    assert table.switches <= set(everywhere)
    for flag in table.flags.values():
        if flag.status != "modelled":
            continue
        model: Any = Spec
        for part in flag.what.split("."):
            assert part in model.model_fields, flag
            model = kinds_at("engine")[name] if part == "engine" else one_model(model.model_fields[part].annotation)


def test_every_option_of_an_engine_has_a_flag() -> None:
    """But those that are no flags: a name, a version, and a property of requests; and those of decode replicas."""
    for name in ENGINES:
        fields = {flag.what.split(".")[1] for flag in find_table(name, None).flags.values() if "engine." in flag.what}
        assert set(kinds_at("engine")[name].model_fields) - fields == (
            {"name", "version", "ignore_eos", "speculation", *OF_DECODE_REPLICAS}
            if name == "sglang"
            else {"name", "version"}
        )


@pytest.mark.parametrize(
    ("engine", "flags", "parallel"),
    [
        ("vllm", "-dp 8 -ep", {"data": 8, "expert": 8}),
        ("vllm", "-tp 2 -dp 4 --enable-expert-parallel", {"tensor": 2, "data": 4, "expert": 8}),
        ("vllm", "-tp 2 --no-enable-expert-parallel", {"tensor": 2, "expert": 1}),
        ("sglang", "--tp 8 --dp 4 --enable-dp-attention --ep 8", {"tensor": 2, "data": 4, "expert": 8}),
        ("sglang", "--tp 2 --dp 4", {"tensor": 2, "data": 4}),
    ],
)
def test_ranks_by_engine(engine: str, flags: str, parallel: dict[str, int]) -> None:
    """SGLang counts the tensor ranks of all data ranks, unless these are servers of their own."""
    start = {"vllm": "vllm serve", "sglang": "python -m sglang.launch_server --model"}[engine]
    assert imported(f"{start} deepseek-ai/DeepSeek-V3 {flags}").spec["parallel"] == parallel


def test_the_line_of_the_readme() -> None:
    line = f"{VLLM} --max-num-seqs 128 --tensor-parallel-size 2"
    assert imported(line, engine="vllm").spec == {
        "model": "meta-llama/Llama-3.1-8B",
        "parallel": {"tensor": 2},
        "engine": {"name": "vllm", "version": "0.32", "max_num_seqs": 128},
    }


@pytest.mark.parametrize(
    ("flags", "options"),
    [
        ("--max-num-seqs=8", {"max_num_seqs": 8}),
        ("--max_num_seqs 8", {"max_num_seqs": 8}),
        ("--max-num-seq 8", {"max_num_seqs": 8}),
        ("--max-model-len 32k", {"max_model_len": 32_000}),
        ("--max-model-len 16K", {"max_model_len": 16_384}),
        ("--max-model-len auto", {}),
        (
            "--no-enable-prefix-caching --enable-chunked-prefill",
            {"enable_prefix_caching": False, "enable_chunked_prefill": True},
        ),
        ("--kv-cache-dtype fp8_e4m3 -q fp8", {"kv_cache_dtype": "fp8", "quantization": "fp8"}),
        ("--device-memory-utilization .8", {"gpu_memory_utilization": 0.8}),
        ("--max-num-seqs 4 --max-num-seqs 5", {"max_num_seqs": 5}),
        ("--cpu-offload-gb 0 --no-enable-lora --dtype bfloat16", {}),
        ("--served-model-name a b --port 80 \\\n --seed -1", {}),
    ],
)
def test_forms_of_flags(flags: str, options: dict[str, Any]) -> None:
    assert engine(f"{VLLM} {flags}") == options


@pytest.mark.parametrize(
    "line",
    [
        "CUDA_VISIBLE_DEVICES=0 python3 -m vllm.entrypoints.openai.api_server --model meta-llama/Llama-3.1-8B",
        "nohup /usr/bin/vllm serve meta-llama/Llama-3.1-8B > log.txt 2>&1 &",
        "cd /srv && vllm serve --model meta-llama/Llama-3.1-8B",
        "docker run --gpus all -p 8000:8000 vllm/vllm-openai:latest --model meta-llama/Llama-3.1-8B",
        "vllm serve --port 1 meta-llama/Llama-3.1-8B",
    ],
)
def test_forms_of_commands(line: str) -> None:
    made = imported(line).spec
    assert (made["model"], made["engine"]["name"]) == ("meta-llama/Llama-3.1-8B", "vllm")


def test_an_images_tag_tells_the_version() -> None:
    run = "docker run vllm/vllm-openai:{} --model meta-llama/Llama-3.1-8B"
    assert imported(run.format("v0.19.1")).spec["engine"]["version"] == "0.19"
    assert any("0.11.0 are not modelled" in note for note in imported(run.format("v0.11.0")).notes)


def test_speculation_needs_what_no_line_tells() -> None:
    line = VLLM + """ --speculative-config '{"method": "ngram", "num_speculative_tokens": 3}'"""
    assert problem(line).field == "--speculative-config"
    assert engine(line, acceptance=0.5)["speculative"]["acceptance"] == 0.5
    dotted = f"{VLLM} --speculative-config.method ngram --speculative-config.num_speculative_tokens 2"
    assert engine(dotted, acceptance=0.5)["speculative"]["num_speculative_tokens"] == 2
    head = """{"method": "deepseek_mtp", "num_speculative_tokens": 1, "disable_eagle_block_drop": true, "model": "a"}"""
    mtp = engine(f"vllm serve deepseek-ai/DeepSeek-V3 --speculative-config '{head}'", acceptance=0.5)["speculative"]
    assert (mtp["method"], mtp["num_speculative_tokens"], mtp["disable_eagle_block_drop"]) == ("mtp", 1, True)
    assert "not yet modelled" in problem(f"{VLLM} -sc.method suffix", acceptance=0.5).message
    assert problem(VLLM, acceptance=0.5).field == "--acceptance"


def test_a_drafting_head_in_the_lines_of_the_others(tmp_path: Path) -> None:
    tree = "--speculative-num-steps 3 --speculative-eagle-topk 1 --speculative-num-draft-tokens 4"
    line = f"{SGLANG} --speculative-algorithm EAGLE3 {tree} --disable-overlap-schedule"
    made = engine(f"{line} --speculative-draft-model-path a/head", acceptance=0.7)
    assert (made["speculative_algorithm"], made["speculation"]) == ("EAGLE3", {"acceptance": 0.7})
    assert problem(line).field == "--speculative-algorithm"
    options = tmp_path / "options.yaml"
    options.write_text("speculative_config: {decoding_type: Eagle3, max_draft_len: 3, speculative_model: a/head}")
    run = f"trtllm-serve meta-llama/Llama-3.1-8B --config {options}"
    config = engine(run, acceptance=0.7)["speculative_config"]
    assert config == {"decoding_type": "Eagle3", "max_draft_len": 3, "acceptance": 0.7}


def test_sglang() -> None:
    line = f"{SGLANG} --tp 2 --mem-frac 0.8 --chunked-prefill-size -1 --schedule-policy lpm --disable-radix-cache"
    made = imported(line, gpu="h100").spec
    assert made["parallel"] == {"tensor": 2}
    assert engine(line) == {
        "mem_fraction_static": 0.8,
        "chunked_prefill_size": -1,
        "schedule_policy": "lpm",
        "disable_radix_cache": True,
    }


def test_trtllm_reads_its_yaml_which_counts_against_the_line(tmp_path: Path) -> None:
    (tmp_path / "extra.yaml").write_text(
        "kv_cache_config: {free_gpu_memory_fraction: 0.8, enable_block_reuse: false}\n"
        "scheduler_config: {capacity_scheduler_policy: MAX_UTILIZATION}\n"
        "max_batch_size: 16\nenable_attention_dp: false\ncuda_graph_config: {enable_padding: true}\n"
    )
    line = f"{TRTLLM} --max_batch_size 8 --tp_size 2 --extra_llm_api_options extra.yaml"
    assert engine(line, directory=tmp_path) == {
        "max_batch_size": 16,
        "kv_cache_config": {"free_gpu_memory_fraction": 0.8, "enable_block_reuse": False},
        "scheduler_config": {"capacity_scheduler_policy": "MAX_UTILIZATION"},
        "cuda_graph_config": {"enable_padding": True},
    }
    (tmp_path / "extra.yaml").write_text("enable_attention_dp: true\n")
    assert "attention data parallelism" in problem(line, directory=tmp_path).message
    (tmp_path / "extra.yaml").write_text("kv_cache_config: {free_gpu_memory: 0.8}\n")
    assert "kv_cache_config.free_gpu_memory (in" in str(problem(line, directory=tmp_path).field)


def test_vllms_config_file_counts_less_than_the_line(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("max-num-seqs: 4\nport: 80\nblock-size: 32\n")
    line = f"{VLLM} --config config.yaml --max-num-seqs 8"
    assert engine(line, directory=tmp_path) == {"max_num_seqs": 8, "block_size": 32}


def test_notes_say_what_does_not_matter_and_why() -> None:
    notes = imported(f"VLLM_X=1 {VLLM} --port 80 --kernel-config x --cpu-offload-gb 0").notes
    assert notes == [
        "without effect here: --port (the HTTP front end)",
        "without effect here: --kernel-config (kernels: they change how long a pass takes, which the timing model does "
        "not tell apart)",
        "without effect here: --cpu-offload-gb (as modelled anyway)",
        "without effect here: VLLM_X (environment variables are not read)",
        "gpu: no launch line tells; give --gpu here, or a line such as `gpu: h100` in the spec",
    ]


def test_cuda_graphs_are_read_in_each_engines_form() -> None:
    assert engine(f"{VLLM} --enforce-eager --max-num-seqs 8") == {"enforce_eager": True, "max_num_seqs": 8}
    given = engine(
        f"{VLLM} --cudagraph-capture-sizes 1 2 4 --max-cudagraph-capture-size 4 -cc.cudagraph_mode=piecewise"
    )
    assert given == {
        "cudagraph_mode": "PIECEWISE",
        "cudagraph_capture_sizes": [1, 2, 4],
        "max_cudagraph_capture_size": 4,
    }
    with pytest.raises(InputError, match="--cudagraph-capture-sizes only"):
        engine(VLLM + """ --compilation-config '{"cudagraph_capture_sizes": [1]}'""")


def test_what_is_unsupported_is_refused_all_at_once_or_left_out() -> None:
    line = f"""{VLLM} --enable-lora --kv-transfer-config '{{"a": 1}}' --dtype float32"""
    message = problem(line).message
    assert "--enable-lora: LoRA" in message
    assert "--kv-transfer-config: one of several pools" in message
    assert "--dtype: float32 is not yet modelled" in message
    notes = imported(line, allow_unsupported=True).notes
    assert sum(note.startswith("unsupported, left out") for note in notes) == 3


@pytest.mark.parametrize(
    ("flags", "neutral"),
    [
        (f"{VLLM} --disable-hybrid-kv-cache-manager", "--no-disable-hybrid-kv-cache-manager"),
        (f"{VLLM} --mamba-cache-mode all", "--mamba-cache-mode align"),
        (f"{VLLM} --mamba-ssm-cache-dtype bfloat16", "--mamba-ssm-cache-dtype auto"),
        (f"{VLLM} --mamba-block-size 2112", ""),
        (f"{SGLANG} --disable-hybrid-swa-memory", ""),
        (f"{SGLANG} --max-mamba-cache-size 64", ""),
        (f"{SGLANG} --tp-size 8 --enable-eplb", "--tp-size 8"),
        (f"{SGLANG} --tp-size 8 --moe-a2a-backend deepep", "--tp-size 8 --moe-a2a-backend none"),
    ],
)
def test_what_changes_a_cache_or_experts_that_are_modelled_is_refused(flags: str, neutral: str) -> None:
    """Once no model with windows, states or experts was, and nothing that only they read had an effect."""
    assert problem(flags).field == "unsupported"
    engine_line = VLLM if flags.startswith(VLLM) else SGLANG
    assert not [note for note in imported(f"{engine_line} {neutral}").notes if "unsupported" in note]


@pytest.mark.parametrize(
    ("line", "given", "field"),
    [
        (f"{VLLM} --max-num-sex 3 --foo", {}, "--max-num-sex, --foo"),
        (f"{VLLM} --max-num-seqs", {}, "--max-num-seqs"),
        (f"{VLLM} --max-num-seqs --port 80", {}, "--max-num-seqs"),
        (f"{VLLM} --max-num-seqs many", {}, "--max-num-seqs"),
        (f"{VLLM} --max-num-seqs 0", {}, "--max-num-seqs"),
        (f"{VLLM} --watermark 0.1", {"version": "0.19"}, "--watermark"),
        (f"{VLLM} --kv-cache-dtype int4", {}, "--kv-cache-dtype"),
        (f"{VLLM} --max-num-batched-tokens 8 --max-num-seqs 9", {"gpu": "h100"}, "--max-num-batched-tokens"),
        (f"{VLLM} --data-parallel-external-lb", {}, "unsupported"),
        (f"{VLLM} --enable-expert-parallel -tp 2", {"gpu": "h100"}, "--enable-expert-parallel"),
        (f"{SGLANG} --tp-size 4 --dp-size 3 --enable-dp-attention", {}, "--dp-size"),
        (f"{VLLM} --speculative-config nonsense", {"acceptance": 0.5}, "--speculative-config"),
        (f"{VLLM} second", {}, "second"),
        ("vllm serve meta-llama/Llama-3.1-9B", {}, "model"),
        ("vllm serve ./nowhere/config.json", {}, "model"),
        ("vllm serve --port 80", {}, "line"),
        (f"{SGLANG} --chunked-prefill-size 100 --page-size 64", {}, "--chunked-prefill-size"),
        (f"{SGLANG} --speculative-algorithm EAGLE", {}, "--speculative-algorithm"),
        (f"{SGLANG} --speculative-algorithm DFLASH", {"acceptance": 0.5}, "--speculative-algorithm"),
        (f"{SGLANG} --speculative-algorithm EAGLE", {"acceptance": 0.5}, "engine.speculative_num_steps"),
        (f"{SGLANG} --max-num-seqs 4", {}, "--max-num-seqs"),
        (f"{TRTLLM} --max_num_tokens 10", {}, "--max_num_tokens"),
        (VLLM, {"engine": "sglang"}, "--engine"),
        (VLLM, {"engine": "tgi"}, "--engine"),
        (VLLM, {"version": "0.11"}, "--version"),
        (VLLM, {"gpu": "b100"}, "gpu"),
        ("--max-num-seqs 8", {}, "--engine"),
        ("echo hello", {}, "line"),
        ("vllm serve 'meta", {}, "line"),
        ("", {}, "--engine"),
    ],
)
def test_bad_lines_name_the_flag(line: str, given: dict[str, Any], field: str) -> None:
    assert problem(line, **given).field == field


MANIFEST = """\
apiVersion: apps/v1
kind: Deployment
spec:
  replicas: 3
  template:
    spec:
      nodeSelector: {nvidia.com/gpu.product: NVIDIA-H100-80GB-HBM3}
      containers:
        - name: proxy
          image: envoy
          args: [--config, x]
        - name: server
          image: vllm/vllm-openai:v0.32.0
          env: [{name: MODEL, value: meta-llama/Llama-3.1-8B}]
          %s
"""


@pytest.mark.parametrize(
    "container",
    [
        "args: [--model, $(MODEL), --max-num-seqs, '64']",
        "command: [vllm, serve, $(MODEL), --max-num-seqs=64]",
        "command: [/bin/bash, -c]\n          args: ['set -e\n\n\n            vllm serve $MODEL --max-num-seqs 64']",
        "command: [sh, -c, 'exec vllm serve ${MODEL} --max-num-seqs 64 --port 8000']",
    ],
)
def test_manifests(tmp_path: Path, container: str) -> None:
    file = tmp_path / "deployment.yaml"
    file.write_text(MANIFEST % container)
    assert import_file(file, container=None).spec == {
        "model": "meta-llama/Llama-3.1-8B",
        "gpu": "h100",
        "replicas": 3,
        "engine": {"name": "vllm", "version": "0.32", "max_num_seqs": 64},
    }


def test_manifests_with_no_or_several_engines(tmp_path: Path) -> None:
    file = tmp_path / "deployment.yaml"
    one = MANIFEST % "args: [--model, $(MODEL)]"
    file.write_text(one + "---\n" + one.replace("name: server", "name: other"))
    with pytest.raises(InputError, match="2 containers") as caught:
        import_file(file, container=None)
    assert "server, other" in str(caught.value.wanted)
    assert import_file(file, container="other").spec["replicas"] == 3
    file.write_text("kind: ConfigMap\n")
    with pytest.raises(InputError, match="no container"):
        import_file(file, container=None)
    file.write_text(MANIFEST % "args: [--model, llama-3.1-8b, --max-num-seqs, many]")
    with pytest.raises(InputError, match=r"deployment\.yaml: --max-num-seqs: .*found 'many'"):
        import_file(file, container=None)
    file.write_text("a: [")
    with pytest.raises(InputError, match="not YAML"):
        import_file(file, container=None)
    with pytest.raises(InputError, match="cannot be read"):
        import_file(tmp_path / "nowhere.yaml", container=None)


def test_a_script(tmp_path: Path) -> None:
    file = tmp_path / "run.sh"
    file.write_text(f"#!/bin/bash\nset -e\nexport A=1\n{VLLM} \\\n  --max-num-seqs 8\n")
    assert import_file(file, container=None).spec["engine"]["max_num_seqs"] == 8


@pytest.mark.parametrize("line", [VLLM, SGLANG, TRTLLM])
def test_round_trip(tmp_path: Path, line: str) -> None:
    """What is made is a spec, resolves, and reads back the same."""
    made = imported(line, gpu="h200")
    file = tmp_path / "spec.yaml"
    file.write_text(yaml_text(made))
    spec = load_spec(file)
    assert spec.model_dump() == make_spec(made.spec).model_dump()
    assert resolve_engine(spec).blocks > 0
