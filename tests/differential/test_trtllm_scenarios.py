"""The random scenarios must reach what they are for, and TensorRT-LLM's policies keep what they promise on them."""

from __future__ import annotations

from itertools import pairwise

from .trtllm_scenarios import random_scenario, reference

SEEDS = range(400)


def test_the_policies_keep_their_promises() -> None:
    """GUARANTEED_NO_EVICT never pauses; nobody over-commits; a static batch starts nobody while others generate."""
    reached: dict[str, int] = {}
    for seed in SEEDS:
        scenario = random_scenario(seed)
        done, config = reference(scenario), scenario.config
        policy = config.capacity_scheduler_policy
        paused = sum(len(one.preempted) for one in done.passes)
        assert policy == "MAX_UTILIZATION" or paused == 0
        assert done.stuck is None
        assert all(record.finish_ps is not None for record in done.requests)
        for one in done.passes:
            assert 0 <= one.free <= config.num_blocks
            assert sum(row[1] for row in one.scheduled) <= config.max_num_tokens
            assert len(one.scheduled) <= one.running <= config.max_batch_size
            generating = [row for row in one.scheduled if row[2] >= scenario.requests[row[0]].n_in]
            assert policy != "STATIC_BATCH" or not (generating and one.new)
        assert done.passes[-1].free_end == config.num_blocks
        waits = any(a.waiting and not b.new and a.running < config.max_batch_size for a, b in pairwise(done.passes))
        found = {
            policy: True,
            "pause": paused > 0,
            "hit": any(record.cached for record in done.requests),
            "hit on resumption": any(any(record.cached_resume) for record in done.requests),
            "chunks": any(row[1] + row[2] < scenario.requests[row[0]].n_in for p in done.passes for row in p.scheduled),
            "a row left out": any(len(one.scheduled) < one.running for one in done.passes),
            "a wait": config.batch_wait_timeout_iters > 0 and waits,
            "no output": any(record.n_out == 0 for record in done.requests),
        }
        for feature, present in found.items():
            reached[feature] = reached.get(feature, 0) + present
    assert not {feature: count for feature, count in reached.items() if count < 3}
