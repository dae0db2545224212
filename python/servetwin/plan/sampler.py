"""Which combinations of a large space to look at: asked of Optuna in batches of a fixed size, and told in their order,
so that the trials are the same however many runs go on at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from ..errors import InputError
from .space import Space

if TYPE_CHECKING:
    from optuna import Trial
    from optuna.study import Study

BATCH = 32
"""Combinations that are asked for before any is told: NSGA-II's generation, too."""

Figures = Sequence[float]
"""What a combination is judged by, each the more the better."""


class Sampler:
    """Asks for combinations by number.

    Raises InputError where Optuna is not installed.
    """

    def __init__(self, space: Space, method: Literal["nsga2", "tpe"], figures: int) -> None:
        optuna = _optuna()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        seed = space.base.seed % 2**32
        if method == "nsga2":
            sampler = optuna.samplers.NSGAIISampler(population_size=BATCH, seed=seed)
        else:
            sampler = optuna.samplers.TPESampler(n_startup_trials=BATCH, seed=seed, constant_liar=True)
        self._space = space
        self._study: Study = optuna.create_study(directions=["maximize"] * figures, sampler=sampler)
        self._distributions: dict[str, Any] = {
            path: optuna.distributions.CategoricalDistribution(range(len(values)))
            for path, values in space.axes.items()
        }
        self._worst = [0.0] * figures

    def ask(self, count: int) -> list[tuple[Trial, int]]:
        """Trials, each with its combination; several may have the same."""
        trials = [self._study.ask(self._distributions) for _ in range(count)]
        paths = list(self._space.axes)
        return [(trial, self._space.number([trial.params[path] for path in paths])) for trial in trials]

    def tell(self, trial: Trial, figures: Figures | None) -> None:
        """What became of a trial; None where there is no such deployment, or it meets the level at no load."""
        self._study.tell(trial, list(figures) if figures is not None else self._worst)


def batches(trials: int) -> Iterator[int]:
    while trials > 0:
        yield min(trials, BATCH)
        trials -= BATCH


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise InputError(
            "is not installed, and a space this large is searched with it",
            field="optuna",
            wanted="`pip install servetwin[search]`, or `search.method: exhaustive`",
        ) from None
    return optuna
