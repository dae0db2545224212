"""The rule of each native router, as plainly as it can be said: every replica asked, block by block.

They are Python routers, told of first tokens and ends, so that they can be run in place of the native ones.
"""

from __future__ import annotations

import bisect
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from servetwin import Choice, ReplicaView, RouterRequest
from servetwin.reference.acceptance import mix

ONE = 1 << 20
POINT, KEY, TEMPERATURE = 0, 1, 1


def draw(seed: int, *keys: int) -> int:
    """The number for `keys` under `seed`, from 0 to 2^64 - 1."""
    state = mix(seed)
    for key in keys:
        state = mix(state ^ mix(key))
    return state


def block_size(engine: dict[str, Any]) -> int:
    return int(engine["page_size"] if engine["name"] == "sglang" else engine["block_size"])


class World:
    """What routers may know beforehand: the trace's prompts and sessions."""

    def __init__(self, trace: dict[str, Any], run: dict[str, Any]) -> None:
        self.trace, self.options, self.seed, self.replicas = trace, run["router"], run["seed"], run["replicas"]
        self.block_size = block_size(run["engine"])

    def input_tokens(self, request: int) -> int:
        return int(self.trace["input_tokens"][request])

    def ids(self, request: int) -> list[int]:
        low, high = self.trace["block_offsets"][request : request + 2]
        return list(self.trace["block_ids"][low:high])

    def blocks(self, request: int) -> list[tuple[int, ...]]:
        """Each whole block of the prompt by all ids up to its last token."""
        ids, per_id, size = self.ids(request), self.trace["block_tokens"], self.block_size
        count = self.input_tokens(request) // size
        return [(index, *ids[: ((index + 1) * size - 1) // per_id + 1]) for index in range(count)]

    def session(self, request: int) -> int:
        while self.trace["after"][request] >= 0:
            request = self.trace["after"][request]
        return request

    def shared_session(self, request: int) -> int | None:
        root = self.session(request)
        turns = sum(self.session(other) == root for other in range(len(self.trace["after"])))
        return root if turns > 1 else None

    def prefix_key(self, request: int, tokens: int) -> int:
        prefix = min(tokens, self.input_tokens(request))
        ids = self.ids(request)[: -(-prefix // self.trace["block_tokens"])]
        key = prefix
        for id_ in ids:
            key = draw(key, id_)
        return key

    def any(self, request: int, count: int) -> int:
        return int(draw(self.seed, request) % count)


class Reference:
    reads_cache = True

    def __init__(self, world: World) -> None:
        self.world, self.options = world, world.options
        self.requests = [0] * world.replicas

    def pick(self, request: RouterRequest, views: Sequence[ReplicaView]) -> int:
        raise NotImplementedError

    def sent(self, request: int, replica: int) -> None:
        self.requests[replica] += 1

    def first_token(self, request: int, replica: int) -> None: ...

    def ended(self, request: int, replica: int) -> None:
        self.requests[replica] -= 1

    @property
    def fewest(self) -> int:
        return self.requests.index(min(self.requests))


class RoundRobin(Reference):
    def pick(self, request: RouterRequest, views: Sequence[ReplicaView]) -> int:
        self.turn = getattr(self, "turn", -1) + 1
        return self.turn % self.world.replicas


class Random(Reference):
    def pick(self, request: RouterRequest, views: Sequence[ReplicaView]) -> int:
        return self.world.any(request.index, self.world.replicas)


class LeastRequests(Reference):
    def pick(self, request: RouterRequest, views: Sequence[ReplicaView]) -> int:
        return self.fewest


class LeastTokens(Reference):
    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.tokens = [0] * world.replicas

    def cost(self, request: int) -> int:
        limit = min(self.world.trace["max_output_tokens"][request], self.options["expected_output_tokens"])
        return int(self.world.input_tokens(request) + limit)

    def pick(self, request: RouterRequest, views: Sequence[ReplicaView]) -> int:
        return self.tokens.index(min(self.tokens))

    def sent(self, request: int, replica: int) -> None:
        self.tokens[replica] += self.cost(request)

    def ended(self, request: int, replica: int) -> None:
        self.tokens[replica] -= self.cost(request)


class PowerOfTwo(Reference):
    def pick(self, request: RouterRequest, views: Sequence[ReplicaView]) -> int:
        count = self.world.replicas
        first = draw(self.world.seed, request.index, 0) % count
        second = (first + 1 + draw(self.world.seed, request.index, 1) % (count - 1)) % count if count > 1 else first
        if self.options["telemetry"] is not None:
            return min((first, second), key=lambda replica: views[replica].used_blocks)
        return min((first, second), key=lambda replica: self.requests[replica])


class SessionAffinity(Reference):
    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.bound: dict[int, tuple[int, int]] = {}
        self.groups = [0] * world.replicas

    def pick(self, request: RouterRequest, views: Sequence[ReplicaView]) -> int:
        session = self.world.shared_session(request.index)
        now = request.arrival_ps
        swept = now - now % self.options["eviction_interval_ps"]
        replica, used = self.bound.get(-1 if session is None else session, (None, 0))
        if replica is None or swept - used >= self.options["max_idle_ps"]:
            replica = self.new(request.index)
        if session is not None:
            self.bound[session] = replica, now
        return replica

    def new(self, request: int) -> int:
        mode = self.options["assignment_mode"]
        if mode == "random":
            return self.world.any(request, self.world.replicas)
        loads = self.requests if mode == "min_load" else self.groups
        alike = [replica for replica, load in enumerate(loads) if load == min(loads)]
        return alike[self.world.any(request, len(alike))]

    def sent(self, request: int, replica: int) -> None:
        super().sent(request, replica)
        self.groups[replica] += self.world.shared_session(request) is not None

    def ended(self, request: int, replica: int) -> None:
        super().ended(request, replica)
        self.groups[replica] -= self.world.shared_session(request) is not None


class Ring(Reference):
    def __init__(self, world: World) -> None:
        super().__init__(world)
        nodes = range(self.options["virtual_nodes"])
        points = [
            (draw(world.seed, POINT, replica, node), replica) for replica in range(world.replicas) for node in nodes
        ]
        self.points = sorted(points)

    def order(self, key: int) -> list[int]:
        at = bisect.bisect_left(self.points, (draw(self.world.seed, KEY, key), -1))
        return [replica for _, replica in self.points[at:] + self.points[:at]]


class ConsistentHashing(Ring):
    def pick(self, request: RouterRequest, views: Sequence[ReplicaView]) -> int:
        if self.options["key"] == "prefix":
            key: int | None = self.world.prefix_key(request.index, self.options["prefix_tokens"])
        else:
            key = self.world.shared_session(request.index)
        if key is None:
            return self.world.any(request.index, self.world.replicas)
        order, skew = self.order(key), self.options["max_load_skew"]
        mean = sum(self.requests) / self.world.replicas
        fitting = [replica for replica in order if skew is None or mean == 0 or self.requests[replica] <= mean * skew]
        return (fitting or order)[0]


class PrefixHash(Ring):
    def pick(self, request: RouterRequest, views: Sequence[ReplicaView]) -> int:
        preferred = self.order(self.world.prefix_key(request.index, self.options["prefix_token_count"]))[0]
        total = sum(self.requests)
        most = (total + 1) / self.world.replicas * self.options["load_factor"]
        fitting = [replica for replica, load in enumerate(self.requests) if total == 0 or load <= most]
        if preferred in fitting or not fitting:
            return preferred
        return min(fitting, key=lambda replica: self.requests[replica])


class CacheAware(Reference):
    """Without eviction."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.got: dict[tuple[int, ...], list[int]] = defaultdict(list)

    def pick(self, request: RouterRequest, views: Sequence[ReplicaView]) -> int:
        least, most = min(self.requests), max(self.requests)
        relative = self.options["balance_rel_threshold"]
        if most - least > self.options["balance_abs_threshold"] and most > least * relative:
            return self.fewest
        matched, replica = 0, self.fewest
        for block in self.world.blocks(request.index):
            if block not in self.got:
                break
            matched, replica = matched + 1, self.got[block][0]
        enough = matched * self.world.block_size > self.options["cache_threshold"] * request.input_tokens
        return replica if enough else self.fewest

    def sent(self, request: int, replica: int) -> None:
        super().sent(request, replica)
        for block in self.world.blocks(request):
            if replica not in self.got[block]:
                self.got[block].append(replica)


class LlmD(Reference):
    """Without a bound on what is remembered."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.got: dict[tuple[int, ...], set[int]] = defaultdict(set)
        self.ties = 0

    def prefix(self, request: int) -> list[tuple[int, ...]]:
        return self.world.blocks(request)[: self.options["max_prefix_tokens_to_match"] // self.world.block_size]

    def pick(self, request: RouterRequest, views: Sequence[ReplicaView]) -> int:
        blocks = self.prefix(request.index)
        matched: Counter[int] = Counter()
        for block in blocks:
            if not self.got.get(block):
                break
            matched.update(self.got[block])
        waiting = [view.waiting for view in views]
        spread = max(waiting) - min(waiting)
        scores = []
        for view in views:
            queue = (max(waiting) - view.waiting) / spread if spread else 1.0
            usage = view.used_blocks / max(view.used_blocks + view.free_blocks, 1)
            score = self.options["queue_scorer_weight"] * queue
            score += self.options["kv_cache_utilization_scorer_weight"] * (1 - usage)
            if self.options["prefix_cache_scorer_weight"] and blocks:
                score += self.options["prefix_cache_scorer_weight"] * (matched[view.index] / len(blocks))
            scores.append(score)
        best = [replica for replica, score in enumerate(scores) if score == max(scores)]
        if len(best) == 1:
            return best[0]
        turn = self.ties % len(best)
        self.ties = 0 if self.ties + 1 >= len(best) else self.ties + 1
        return best[turn]

    def sent(self, request: int, replica: int) -> None:
        for block in self.prefix(request):
            self.got[block].add(replica)


class KvAware(Reference):
    """Without a queue."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.prefill = [0] * world.replicas
        self.charged: dict[int, int] = {}
        self.active: list[Counter[tuple[int, ...]]] = [Counter() for _ in range(world.replicas)]
        self.expires: list[dict[tuple[int, ...], int]] = [{} for _ in range(world.replicas)]
        self.now = 0
        self.overlap = [0] * world.replicas

    def fixed(self, name: str) -> int:
        return round(self.options[name] * ONE)

    def active_blocks(self, replica: int) -> int:
        if not self.options["track_active_blocks"]:
            return 0
        counts = self.active[replica]
        return len(counts) if self.options["assume_kv_reuse"] else counts.total()

    def leading(self, blocks: Sequence[tuple[int, ...]], known: Sequence[tuple[int, ...]] | Any) -> int:
        return next((index for index, block in enumerate(blocks) if block not in known), len(blocks))

    def cost(self, request: RouterRequest, replica: int) -> int:
        """In units of a block, times its tokens and the denominators of the weights."""
        size, blocks = self.world.block_size, self.world.blocks(request.index)
        tracked = self.options["track_prefill_tokens"]
        new_blocks = len(blocks) if self.options["track_active_blocks"] else 0
        if self.options["assume_kv_reuse"] and new_blocks:
            new_blocks -= self.leading(blocks, self.active[replica])
        credit = self.fixed("overlap_score_credit")
        whole = -(-request.input_tokens // size) * size * ONE
        excess = self.fixed("overlap_score_credit_decay") * (self.prefill[replica] - min(self.prefill))
        if excess:
            credit = credit * whole // (whole + excess)
        tokens = (self.prefill[replica] + request.input_tokens) * ONE - credit * self.overlap[replica] * size
        prefill = self.fixed("prefill_load_scale") * tokens if tracked else 0
        decode = ONE * (self.active_blocks(replica) + new_blocks)
        return prefill + size * ONE * (decode + self.fixed("decode_active_request_weight") * self.requests[replica])

    def pick(self, request: RouterRequest, views: Sequence[ReplicaView]) -> int:
        replicas, size = range(self.world.replicas), self.world.block_size
        self.now = request.arrival_ps
        blocks = self.world.blocks(request.index)
        for replica in replicas:
            alive = [block for block, until in self.expires[replica].items() if until > self.now]
            predicted = self.leading(blocks, set(alive))
            self.overlap[replica] = (
                request.cached_tokens[replica] // size if self.options["use_kv_events"] else predicted
            )
        costs = [self.cost(request, replica) for replica in replicas]
        if self.options["temperature"]:
            return self.drawn(request.index, [cost / (ONE * ONE * size) for cost in costs])
        first = self.world.any(request.index, self.world.replicas)
        return min(replicas, key=lambda replica: (costs[replica], (replica - first) % self.world.replicas))

    def drawn(self, request: int, costs: list[float]) -> int:
        low, high = min(costs), max(costs)
        slope = -1 / ((high - low) * self.options["temperature"]) if high > low else 0.0
        weights = [math.exp((cost - low) * slope) for cost in costs]
        left = (draw(self.world.seed, request, TEMPERATURE) >> 11) / 2**53 * sum(weights)
        for replica, weight in enumerate(weights):
            left -= weight
            if left <= 0:
                return replica
        return len(costs) - 1

    def sent(self, request: int, replica: int) -> None:
        super().sent(request, replica)
        blocks = self.world.blocks(request)
        self.active[replica].update(blocks)
        if not self.options["use_kv_events"]:
            self.expires[replica].update(dict.fromkeys(blocks, self.now + self.options["ttl_ps"]))
        if self.options["track_prefill_tokens"]:
            new = self.world.input_tokens(request) - self.overlap[replica] * self.world.block_size
            self.charged[request] = new
            self.prefill[replica] += new

    def first_token(self, request: int, replica: int) -> None:
        self.prefill[replica] -= self.charged.pop(request, 0)

    def ended(self, request: int, replica: int) -> None:
        super().ended(request, replica)
        self.first_token(request, replica)
        self.active[replica].subtract(self.world.blocks(request))
        self.active[replica] = +self.active[replica]


REFERENCES: dict[str, type[Reference]] = {
    "round_robin": RoundRobin,
    "random": Random,
    "least_requests": LeastRequests,
    "least_tokens": LeastTokens,
    "power_of_two": PowerOfTwo,
    "session_affinity": SessionAffinity,
    "consistent_hashing": ConsistentHashing,
    "prefix_hash": PrefixHash,
    "cache_aware": CacheAware,
    "llm_d": LlmD,
    "kv_aware": KvAware,
}


class Instances:
    """As many references as there are instances, each told of its own requests only."""

    reads_cache = True

    def __init__(self, trace: dict[str, Any], run: dict[str, Any]) -> None:
        self.world = World(trace, run)
        self.deal, count = run["instances"]["deal"], run["instances"]["count"]
        self.all = [REFERENCES[run["router"]["kind"]](self.world) for _ in range(count)]
        self.of: dict[int, Reference] = {}

    def route(self, request: RouterRequest, views: Sequence[ReplicaView]) -> Choice:
        by_hash = draw(self.world.seed, self.world.session(request.index))
        instance = self.all[(len(self.of) if self.deal == "round_robin" else by_hash) % len(self.all)]
        self.of[request.index] = instance
        replica = instance.pick(request, views)
        instance.sent(request.index, replica)
        return Choice(replica)

    def first_token(self, request: int, replica: int, time_ps: int) -> None:
        self.of[request].first_token(request, replica)

    def ended(self, request: int, replica: int, time_ps: int) -> None:
        self.of[request].ended(request, replica)


def ages(router: dict[str, Any]) -> dict[str, int]:
    """The age of the telemetry that the native router would be shown."""
    telemetry = router.get("telemetry") or router
    return {name: telemetry.get(name, 0) for name in ("interval_ps", "delay_ps")}
