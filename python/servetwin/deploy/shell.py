"""Launch commands as shell scripts: one a pool, and the router in front."""

from __future__ import annotations

import shlex

import yaml

from .process import BOOTSTRAP_PORT, SIDE_CHANNEL_PORT, Plan, Process
from .router import gateway_arguments, orchestrator_router

FIRST_PORT = {"aggregated": 8000, "prefill": 8100, "decode": 8200}
ROUTER_PORT = 9000
WIDTH = 100
ORCHESTRATED = "disagg.yaml"
"""What `trtllm-serve disaggregated` reads."""


def scripts(plan: Plan) -> dict[str, str]:
    """A script a pool, a file of options where TensorRT-LLM reads one, `router.sh` where one router has the policy."""
    files = {}
    for process in plan.processes:
        name = "serve" if process.role == "aggregated" else process.role
        if process.config is not None:
            files[process.config_file] = process.config
        files[f"{name}.sh"] = _script(plan, process, f"{name}.sh")
    orchestrated = plan.engine == "trtllm" and plan.disaggregated
    if orchestrated:
        files[ORCHESTRATED] = _orchestrated(plan)
    router = _orchestrator() if orchestrated else _router(plan)
    if router is not None:
        files["router.sh"] = router
    elif sum(process.replicas for process in plan.processes) > 1:
        kinds = {process.spec.router.kind for process in plan.processes}
        plan.notes.append(
            f"router: {' and '.join(sorted(kinds))} is no policy of the router that comes with the engine; "
            "put your own in front of the ports"
        )
    return files


def one_line(words: list[str]) -> str:
    """Quoted, and broken into lines at flags; shell variables stay."""
    lines, line = [], ""
    for word in words:
        quoted = word if word.startswith('"$') else shlex.quote(word)
        if line and (word.startswith("--") or len(line) + len(quoted) > WIDTH):
            lines.append(line)
            line = quoted
        else:
            line = f"{line} {quoted}".strip()
    return " \\\n    ".join([*lines, line])


def _script(plan: Plan, process: Process, name: str) -> str:
    one = process.replicas == 1
    replicas = "replica" if one else "replicas"
    what = {
        "aggregated": replicas,
        "prefill": f"{replicas} that compute{'s' * one} prompts",
        "decode": f"{replicas} that decode{'s' * one}",
    }
    port = FIRST_PORT[process.role]
    words = [*process.command, *process.arguments(), "--port", '"$port"']
    if process.engine == "sglang":
        words += ["--host", "0.0.0.0"]
        if process.role == "prefill":
            at = words.index("--disaggregation-bootstrap-port")
            words[at + 1] = '"$bootstrap_port"'
    variables = [f"port=$(({port} + i))"]
    if process.role == "prefill" and process.engine == "sglang":
        variables.append(f"bootstrap_port=$(({BOOTSTRAP_PORT} + i))")
    if process.handover and process.engine == "vllm":
        first = SIDE_CHANNEL_PORT + (0 if process.role == "prefill" else 500)
        variables.append(f"export VLLM_NIXL_SIDE_CHANNEL_PORT=$(({first} + i * {process.gpus}))")
    variables.append(f"gpu=$(({plan.first_gpu(process)} + (i - first) * {process.gpus}))")
    inside = "\n".join(f"  {line}" for line in variables)
    return f"""#!/usr/bin/env bash
# {process.replicas} {what[process.role]} of {plan.model}, {process.gpus} GPU{"s" * (process.gpus > 1)} each.
# All on this machine: ./{name}; or COUNT of them, from number FIRST: ./{name} FIRST COUNT
set -euo pipefail
first=${{1:-0}} count=${{2:-{process.replicas}}}
trap 'kill 0' EXIT
for ((i = first; i < first + count; i++)); do
{inside}
  gpus=$(seq -s, $gpu $((gpu + {process.gpus - 1})))
  CUDA_VISIBLE_DEVICES=$gpus {one_line(words)} &
done
wait
"""


def _router(plan: Plan) -> str | None:
    process = plan.processes[0]
    if sum(one.replicas for one in plan.processes) == 1:
        return None
    policies = [gateway_arguments(one.engine, one.spec.router) for one in plan.processes]
    if any(policy is None for policy in policies):
        return None
    words = ["python3", "-m", "sglang_router.launch_router"] if process.engine == "sglang" else ["vllm-router"]
    if plan.disaggregated:
        prefill, decode = plan.processes
        words.append("--pd-disaggregation" if process.engine == "sglang" else "--vllm-pd-disaggregation")
        for i in range(prefill.replicas):
            words += ["--prefill", f"http://localhost:{FIRST_PORT['prefill'] + i}"]
            words += [str(BOOTSTRAP_PORT + i)] if process.engine == "sglang" else []
        for i in range(decode.replicas):
            words += ["--decode", f"http://localhost:{FIRST_PORT['decode'] + i}"]
        first, second = (policy or [] for policy in policies)
        words += ["--prefill-policy", first[1], "--decode-policy", second[1], *first[2:]]
    else:
        words.append("--worker-urls")
        words += [f"http://localhost:{FIRST_PORT['aggregated'] + i}" for i in range(process.replicas)]
        words += policies[0] or []
    words += ["--host", "0.0.0.0", "--port", str(ROUTER_PORT)]
    return f"""#!/usr/bin/env bash
# In front of all replicas on this machine; on others, their addresses go in place of localhost.
set -euo pipefail
exec {one_line(words)}
"""


def _orchestrated(plan: Plan) -> str:
    """Where TensorRT-LLM's servers are (its docs/source/features/disagg-serving.md)."""
    config: dict[str, object] = {"hostname": "0.0.0.0", "port": ROUTER_PORT, "backend": "pytorch"}
    for process, servers in zip(plan.processes, ("context_servers", "generation_servers"), strict=True):
        urls = [f"localhost:{FIRST_PORT[process.role] + i}" for i in range(process.replicas)]
        router = orchestrator_router(process.spec.router)
        note = f"router: {process.spec.router.kind} is no policy of trtllm-serve disaggregated; its default is left"
        if router is None and note not in plan.notes:
            plan.notes.append(note)
        config[servers] = {"num_instances": process.replicas, **({"router": router} if router else {}), "urls": urls}
    return yaml.dump(config, Dumper=yaml.SafeDumper, sort_keys=False)


def _orchestrator() -> str:
    return f"""#!/usr/bin/env bash
# In front of all replicas on this machine; on others, their addresses go into {ORCHESTRATED} in place of localhost.
set -euo pipefail
exec trtllm-serve disaggregated --config_file {ORCHESTRATED}
"""
