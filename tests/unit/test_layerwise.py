"""Hand-overs layer by layer: times worked out by hand.

Every pass takes 10 ms, and computes four layers in it, one every 2.5 ms. A prompt of 16 tokens is 16 MB, 4 MB of each
layer, which the link carries in 2.5 ms.
"""

from __future__ import annotations

from typing import Any

from .test_disaggregation import LEAPS, MS, PASS, REJECTED, Ran
from .test_disaggregation import run as handed_over

LAYER = PASS // 4


def run(*args: Any, handover: dict[str, Any] | None = None, **options: Any) -> Ran:
    layerwise = {"order": "layerwise", "layers": 4}
    return handed_over(*args, handover=layerwise | (handover or {}), **options)


def link(bytes_per_s: int) -> dict[str, int]:
    return {"bytes_per_s": bytes_per_s, "latency_ps": 0}


@LEAPS
def test_all_but_the_last_layer_is_hidden(leap: bool) -> None:
    ran = run([0], [4], leap=leap)
    assert ran.decode_routed_ps == [0]
    assert ran.prefilled_ps == [PASS]
    assert ran.transfer_start_ps == [LAYER]
    assert ran.transfer_end_ps == [PASS + LAYER]
    assert ran.first_token_ps == [ran.transfer_end_ps[0] + PASS], "the last token is computed again"
    assert ran.end_ps == [ran.first_token_ps[0] + 3 * PASS]
    assert (ran.prefill_replica, ran.replica, ran.transferred_tokens) == ([0], [1], [16])


@LEAPS
def test_each_time_of_a_hand_over(leap: bool) -> None:
    """A layer's setup and latency come after it is computed. Contact and messages go while the prompt is computed."""
    times = {"control_ps": 2 * MS, "bootstrap_ps": MS, "setup_ps": MS}
    ran = run([0], [1], leap=leap, handover=times, link={"bytes_per_s": 16_000_000_000, "latency_ps": 3 * MS})
    assert ran.transfer_start_ps == [2 * MS + MS + MS + 3 * MS], "told after the first layer was computed"
    last = PASS + MS + 3 * MS + MS // 4
    assert ran.transfer_end_ps == [last + 2 * MS]


@LEAPS
def test_a_slow_link_never_rests(leap: bool) -> None:
    ran = run([0], [1], leap=leap, link=link(800_000_000))
    assert ran.transfer_end_ps == [LAYER + 2 * PASS]


@LEAPS
def test_a_fast_link_waits_for_each_layer(leap: bool) -> None:
    ran = run([0], [1], leap=leap, link=link(16_000_000_000))
    assert ran.transfer_end_ps == [PASS + MS // 4]


@LEAPS
def test_nothing_is_hidden_if_room_comes_late(leap: bool) -> None:
    """The decode replica has blocks for one prompt: the second is computed meanwhile, and sent in one piece."""
    ran = run([0, 0], [3, 3], prompts=[32, 32], leap=leap, decode={"num_gpu_blocks": 4})
    assert ran.prefilled_ps == [PASS, PASS]
    assert ran.transfer_start_ps[1] == ran.end_ps[0]
    assert ran.transfer_end_ps[1] == ran.end_ps[0] + 2 * PASS


@LEAPS
def test_layers_of_two_prompts_share_the_link(leap: bool) -> None:
    """Both have a layer every 2.5 ms, and the link carries one layer of one prompt in that time: at half the speed
    each, all is sent 20 ms after the first layers."""
    ran = run([0, 0], [1, 1], leap=leap)
    assert ran.transfer_start_ps == [LAYER, LAYER]
    assert ran.transfer_end_ps == [LAYER + 2 * PASS] * 2


@LEAPS
def test_the_longer_of_two_has_the_link_for_the_rest(leap: bool) -> None:
    """16 and 32 MB: half the link each until the shorter is over, 20 ms after its first layer; then the longer has
    all of it for the 16 MB that are left."""
    ran = run([0, 0], [1, 1], prompts=[16, 32], leap=leap)
    assert ran.transfer_end_ps[0] == LAYER + 2 * PASS
    assert ran.transfer_end_ps[1] == LAYER + 3 * PASS


@LEAPS
def test_only_the_last_pass_sends(leap: bool) -> None:
    """A prompt of three passes: all its KV leaves in the third, layer by layer."""
    ran = run([0], [1], prompts=[48], leap=leap, prefill={"max_num_batched_tokens": 16})
    assert ran.prefilled_ps == [3 * PASS]
    assert ran.transfer_start_ps == [2 * PASS + LAYER]
    assert ran.transfer_end_ps == [2 * PASS + LAYER + 3 * PASS]


@LEAPS
def test_blocks_are_free_when_the_last_layer_is_sent(leap: bool) -> None:
    """The source knows by itself: no message is needed."""
    ran = run([0, 0], [1, 1], leap=leap, prefill={"num_gpu_blocks": 2}, handover={"control_ps": 2 * MS})
    assert ran.transfer_end_ps[0] == PASS + LAYER + 2 * MS
    assert ran.scheduled_ps == [0, PASS + LAYER]


@LEAPS
def test_what_takes_too_long_ends(leap: bool) -> None:
    """From the end of the prefill on."""
    slow = link(1_000_000)
    ran = run([0, 0], [1, 1], leap=leap, prefill={"num_gpu_blocks": 2}, link=slow, handover={"timeout_ps": 50 * MS})
    assert (ran.status, ran.reason) == ([REJECTED] * 2, [10] * 2)
    assert ran.end_ps == [PASS + 50 * MS, 2 * PASS + 100 * MS]
    assert ran.scheduled_ps == [0, PASS + 50 * MS]


@LEAPS
def test_a_queued_pass_is_sent_as_it_computes(leap: bool) -> None:
    """Async: the second prompt's pass is decided when the first one's starts, and starts when that ends."""
    ran = run([0, MS], [1, 1], leap=leap, prefill={"async_scheduling": True, "max_num_batched_tokens": 16})
    assert ran.transfer_start_ps == [LAYER, PASS + LAYER]
    assert ran.transfer_end_ps == [PASS + LAYER, 2 * PASS + LAYER]


@LEAPS
def test_layers_of_odd_sizes_come_to_the_whole(leap: bool) -> None:
    """Three layers of 16 MB: 5,333,333 bytes of the first two and one more of the last, in 625 ps a byte."""
    ran = run([0], [1], leap=leap, handover={"layers": 3}, link=link(1_600_000_000))
    assert ran.transfer_end_ps == [PASS + 5_333_334 * 625]
