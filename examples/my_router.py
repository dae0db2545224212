"""A router of one's own: the replica with the most free cache per waiting request, where telemetry is stale.

servetwin simulate examples/custom_router.yaml
"""

from collections.abc import Sequence

from servetwin import Choice, ReplicaView, RouterRequest


class FreeCache:
    def __init__(self) -> None:
        self.seen_ps = -1
        self.sent: dict[int, int] = {}

    def route(self, request: RouterRequest, replicas: Sequence[ReplicaView]) -> Choice:
        if replicas[0].time_ps != self.seen_ps:
            self.seen_ps, self.sent = replicas[0].time_ps, {}
        best = max(replicas, key=lambda replica: replica.free_blocks / (1 + replica.waiting + self.sent_to(replica)))
        self.sent[best.index] = self.sent_to(best) + 1
        return Choice(best.index, "most free cache")

    def sent_to(self, replica: ReplicaView) -> int:
        return self.sent.get(replica.index, 0)
