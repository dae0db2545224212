"""`plan.html`: the page of a study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...explain.kept import kept
from ...files import write_whole
from ...plan.finished import Finished
from ...plan.space import labels, names_of, written
from ..page.document import COMMON, page
from ..page.view import spec_yaml
from ..plan import verdict
from .account import account
from .launch import launched
from .trials import trials

FILE = "plan.html"

HERE = Path(__file__).parent

SCRIPTS = (
    *COMMON,
    *(
        HERE / f"{name}.js"
        for name in ("yaml", "trials", "points", "overview", "explanation", "trial", "versus", "account", "views")
    ),
)


def write_page(study: Finished) -> Path:
    """Puts the page into the study's folder, whole or not at all. Raises InputError if it cannot."""
    file = study.folder.path / FILE
    write_whole(file, [study_page(study)])
    return file


def study_page(study: Finished) -> str:
    """The page, as HTML that needs nothing else. The same for the same study."""
    data = view(study)
    return page(f"{data['title']}: plan", SCRIPTS, data, styles=(HERE / "study.css",))


def view(study: Finished) -> dict[str, Any]:
    """All that the page shows."""
    answer, spec = study.answer, study.folder.spec
    axes = answer.space.axes
    names = labels(axes)
    return {
        "title": _title(study),
        "objective": answer.objective,
        "verdict": verdict(answer),
        "load": answer.axis.name,
        "requests": len(study.folder.trace),
        "workload": spec.workload.kind,
        "trace": getattr(spec.workload, "trace", None),
        "engine": spec.engine.name,
        "slo": None if spec.slo is None else spec.slo.model_dump(mode="json", exclude_none=True),
        "axes": [
            {
                "path": path,
                "name": names[path],
                "values": names_of(values),
                "in_full": [written(value) for value in values],
            }
            for path, values in axes.items()
        ],
        "account": account(answer),
        "folder": study.folder.path.name,
        "launch": launched(study),
        "explanations": kept(study.folder.path),
        "spec_yaml": spec_yaml(spec.source.data),
        **trials(study),
    }


def _title(study: Finished) -> str:
    """The model, and the GPUs it may have."""
    spec, most = study.folder.spec, study.answer.space.search.max_gpus
    model = "a model" if spec.model is None else Path(spec.model).name.removesuffix(".json")
    gpu = "GPU" if spec.gpu is None else spec.gpu.upper()
    return f"{model} on {gpu}" if most is None else f"{model} on up to {most:,} × {gpu}"
