"""The whole comparison: each deployment simulated, with terms that were fitted without it, beside AIConfigurator."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from ...catalog import GPUS
from ...catalog.lookup import model
from ...errors import SpecError
from ...replication import processors
from . import peer
from .ours import predict
from .peer import Prediction
from .rows import Deployment, Measured, Sample, read_sample
from .spec import PUBLISHED, NotSimulatedError, Protocol, checkpoint
from .split import architecture, kind
from .terms import EAGER_LAYER_US, UNFITTED, Fitted, Response, fit

EVERY = 3
"""Each so many-th deployment is simulated at the values that terms are fitted from."""

SOME = 5
"""Each so many-th under other assumptions about the benchmark."""

MOST_ARITHMETIC = 0.5
"""Of the data sheet's: of all that is left the sample has at most 46 %."""

IMPOSSIBLE = (
    f"needs more than {MOST_ARITHMETIC:.0%} of the GPUs' arithmetic: prompts were cached, or users fewer than said"
)

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Compared:
    measured: Measured
    unfitted: Prediction
    by_architecture: Prediction
    """With terms fitted to the other architectures."""
    by_gpu: Prediction
    """With terms fitted to the other GPUs."""
    theirs: Prediction | None

    @property
    def architecture(self) -> str:
        return architecture(self.measured.deployment)


@dataclass(frozen=True)
class Comparison:
    sample: Sample
    compared: Sequence[Compared]
    refused: Counter[str]
    """Rows by cause: what we do not simulate."""
    fitted: Fitted
    """To all of them: for reading, not for judging."""
    peer: str | None
    """Why AIConfigurator is not beside, if it is not."""
    assumed: Sequence[tuple[str, Sequence[tuple[Measured, Prediction]]]]
    """Of some deployments, under other assumptions about the benchmark, without a fit."""


@functools.cache
def compare(folder: Path) -> Comparison:
    """`folder`: the systems of aiconfigurator-core."""
    sample = read_sample(folder)
    refused: Counter[str] = Counter()
    plain: list[tuple[Measured, Prediction]] = []
    for one, found in _each(sample.measured, _tried):
        if isinstance(found, str):
            refused[found] += one.rows
        else:
            plain.append((one, found))
    responses = [found for _, found in _each([one for one, _ in plain[::EVERY]], _response)]
    by_architecture = _without([architecture(one.deployment) for one, _ in plain[::EVERY]], responses)
    by_gpu = _without([one.deployment.gpu for one, _ in plain[::EVERY]], responses)
    everything = fit(responses)

    def judged(pair: tuple[Measured, Prediction]) -> tuple[Prediction, Prediction]:
        one = pair[0].deployment
        of = served_and_kind(one)
        first = by_architecture.get(architecture(one), everything).of(*of)
        second = by_gpu.get(one.gpu, everything).of(*of)
        return predict(one, first), predict(one, second)

    theirs, why = _theirs([one for one, _ in plain])
    compared = [
        Compared(one, unfitted, *found, theirs.get(one.deployment)) for ((one, unfitted), found) in _each(plain, judged)
    ]
    return Comparison(sample, compared, refused, everything, why, _assumed([one for one, _ in plain[::SOME]]))


def _assumed(measured: Sequence[Measured]) -> list[tuple[str, list[tuple[Measured, Prediction]]]]:
    return [
        (title, _each(measured, functools.partial(_under, protocol)))
        for title, protocol in {
            "as assumed": PUBLISHED,
            "5 requests a user": replace(PUBLISHED, requests_per_user=5),
            "20 requests a user": replace(PUBLISHED, requests_per_user=20),
            "InferenceX: all lengths the longest": replace(PUBLISHED, shortest=1.0),
            "AIPerf: answers just as long as asked for": replace(PUBLISHED, drift=0.0),
            "AIPerf: answers within 1 %": replace(PUBLISHED, drift=0.02),
        }.items()
    ]


def _under(protocol: Protocol, one: Measured) -> Prediction:
    return predict(one.deployment, UNFITTED, protocol)


def arithmetic_share(one: Measured) -> float:
    """Of the data sheet's rate, what the products of all measured tokens need, prompts computed and answers made."""
    of = one.deployment
    served, gpu = model(checkpoint(of), Path()), GPUS[of.gpu]
    request_s = (one.ttft_ms + one.tpot_ms * (of.output_tokens - 1)) / 1e3
    tokens_per_s = of.concurrency * (of.input_tokens + of.output_tokens) * PUBLISHED.mean_share(of) / request_s
    products = sum(count * matrix.active_elements for count, matrix in served.layer_matrices())
    part = served.stored.experts if served.has_experts else served.stored.mlp
    return 2 * products * tokens_per_s / (of.tensor * of.data * gpu.flops(part.arithmetic))


def served_and_kind(one: Deployment) -> tuple[str, str]:
    return f"{one.engine} {one.benchmark}", kind(checkpoint(one))


def _tried(one: Measured) -> Prediction | str:
    try:
        if arithmetic_share(one) > MOST_ARITHMETIC:
            return IMPOSSIBLE
        return predict(one.deployment)
    except NotSimulatedError as cause:
        return str(cause)
    except SpecError as error:
        return f"{error.field}: {error.message}"


def _response(one: Measured) -> Response:
    """Simulated at the values between which terms are fitted."""
    deployment = one.deployment
    eager = [predict(deployment, replace(UNFITTED, eager_layer_us=value)) for value in EAGER_LAYER_US]
    served, layers = served_and_kind(deployment)
    group = f"{architecture(deployment)} {deployment.gpu} {served}"
    times = tuple((found.ttft_ms, found.tpot_ms) for found in eager)
    return Response(served, layers, group, (one.ttft_ms, one.tpot_ms), times)


def _without(groups: Sequence[str], responses: Sequence[Response]) -> dict[str, Fitted]:
    """Of each group what is fitted to all others."""
    return {
        group: fit([one for one, its in zip(responses, groups, strict=True) if its != group])
        for group in dict.fromkeys(groups)
    }


def _theirs(measured: Sequence[Measured]) -> tuple[dict[Deployment, Prediction], str | None]:
    try:
        found = {one.deployment: peer.predict(one.deployment) for one in measured}
    except ImportError as error:
        return {}, f"not beside AIConfigurator: {error}"
    return {one: prediction for one, prediction in found.items() if prediction is not None}, None


def _each(values: Iterable[T], done: Callable[[T], R]) -> list[tuple[T, R]]:
    """On threads: the simulator lets go of the interpreter."""
    listed = list(values)
    with ThreadPoolExecutor(processors()) as pool:
        return list(zip(listed, pool.map(done, listed), strict=True))
