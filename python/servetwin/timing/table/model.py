"""`timing: {kind: table}`: which timings a spec means, whether they are of its model and GPU, and what they say."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from ...catalog import Gpu, Model, ResolvedEngine
from ...errors import InputError
from ...spec import Spec
from ...spec.timing import TableTiming
from ...units import PS_PER_S
from ..base import Evidence, Lowered, PassLimits
from ..cache import files_of, once
from ..graphs import Captured
from ..host import Host
from ..priced import Priced
from ..tables import PassTables
from .layers import read_layers
from .passes import read_passes


@dataclass(frozen=True)
class TableModel:
    tables: PassTables
    host: Host
    captured: Captured
    layers: int
    """0 for timings of whole passes: launches are in them."""
    source: dict[str, float | str]
    evidence: Evidence = Evidence.INTERPOLATED
    spread: float = 0.0

    @property
    def assumptions(self) -> dict[str, float | str]:
        graphs: dict[str, float | str] = {"cuda_graphs": self.captured.summary} if self.layers else {}
        return self.source | self.host.assumptions | graphs

    def lower(self, limits: PassLimits) -> Lowered:
        return self.tables.lower(self.host, self.captured, self.layers, limits, error_share=0.0)


def table_model(spec: Spec, engine: ResolvedEngine, options: TableTiming, host: Host, captured: Captured) -> TableModel:
    """Raises SpecError: a path that is not there, timings of another model, GPU or number of ranks; InputError: rows
    that make no sense."""
    path = spec.source.path(("timing", "path"), options.path)
    if path.is_file():
        tables = once(f"passes {files_of([path])}", lambda: asdict(read_passes(path)), PassTables.of)
        source: dict[str, float | str] = {"table": path.name, "timings_of": "whole passes"}
        return TableModel(tables, host, Captured(), 0, source)
    if not path.is_dir():
        raise spec.source.problem(
            ("timing", "path"),
            "no such file or folder",
            found=str(path),
            wanted="a file of passes, or a folder with meta.yaml and tp1, tp2 …",
        )
    meta = _meta(path)
    model = _model(spec, engine, meta)
    _check_gpu(spec, engine.gpu, meta)
    tensor = spec.parallel.tensor
    folder = path / f"tp{tensor}"
    if not folder.is_dir():
        others = ", ".join(sorted(entry.name.removeprefix("tp") for entry in path.glob("tp*"))) or "none"
        raise spec.source.problem(
            ("parallel", "tensor"),
            f"{path} has no timings for so many ranks",
            found=str(tensor),
            wanted=f"one of those it has ({others}), or timing of kind analytic",
        )
    for name in ("pipeline", "data", "expert"):
        if getattr(spec.parallel, name) > 1:
            raise spec.source.problem(
                ("parallel", name),
                "a table of layers is timed for tensor parallelism only",
                wanted="1, or kind analytic",
            )
    reduce_ps = _all_reduces(spec, engine, model)
    tables = once(
        f"layers {files_of(list(folder.iterdir()))} {model!r} {engine.gpu!r} {tensor}",
        lambda: asdict(read_layers(folder, model).tables(model, reduce_ps)),
        PassTables.of,
    )
    source = {
        "table": f"layers of {meta.get('model')} on {meta.get('gpu', meta.get('hardware'))}, {tensor} ranks",
        "timed_in": f"vLLM {meta['vllm_version']}" if "vllm_version" in meta else "an engine not named",
        "unequal_contexts": "priced by their mean",
    }
    if tables.longest is not None:
        source["unequal_contexts"] = "priced by their mean and the longest"
    if tables.longest is not None and spec.engine.drafting is not None:
        # Rows that verify drafts are not kept by their lengths.
        tables = replace(tables, longest=None)
        source["unequal_contexts"] = "priced by their mean, for beside drafts skew_fit.csv is not read"
    if tensor > 1:
        source["all_reduce"] = "by fitted curves, not in the table"
    return TableModel(tables, host, captured, model.layers, source)


def _meta(path: Path) -> dict[str, Any]:
    file = path / "meta.yaml"
    try:
        meta = yaml.safe_load(file.read_text(encoding="utf-8"))
    except OSError:
        raise InputError("is missing: it says which model was timed on what", file=str(file)) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"is no YAML: {str(error).splitlines()[0]}", file=str(file)) from None
    if not isinstance(meta, dict) or not isinstance(meta.get("model"), str):
        raise InputError("names no model", file=str(file), field="model")
    return meta


def _model(spec: Spec, engine: ResolvedEngine, meta: dict[str, Any]) -> Model:
    if engine.model is None:
        raise spec.source.problem(
            ("model",), "missing: a table of layers says how long a layer takes, the model how many there are"
        )
    if _plain(meta["model"]) != _plain(engine.model.name):
        raise spec.source.problem(
            ("timing", "path"),
            "timings of another model",
            found=str(meta["model"]),
            wanted=f"timings of {engine.model.name}, or `model: {meta['model']}`",
        )
    return engine.model


def _check_gpu(spec: Spec, gpu: Gpu | None, meta: dict[str, Any]) -> None:
    timed = [str(meta[name]) for name in ("hardware", "gpu") if meta.get(name)]
    if gpu is None or not timed or any(_plain(gpu.name) in _plain(name) for name in timed):
        return
    raise spec.source.problem(
        ("timing", "path"), "timings of another GPU", found=" / ".join(timed), wanted=f"timings on {gpu.title}"
    )


def _plain(name: str) -> str:
    """Without its maker, and without what writers of names do not agree on."""
    last = name.rsplit("/", 1)[-1].lower()
    return "".join(letter for letter in last if letter.isalnum()).removesuffix("instruct2507").removesuffix("instruct")


def _all_reduces(spec: Spec, engine: ResolvedEngine, model: Model) -> Any:
    tensor = spec.parallel.tensor
    if tensor == 1:
        return lambda tokens: 0
    if engine.gpu is None:
        raise spec.source.problem(("gpu",), "missing: all-reduces are priced by its links, they are not in the table")
    priced = Priced.on(engine.gpu)
    count = 2 * model.layers
    return lambda tokens: round(count * priced.all_reduce(tensor, 2 * tokens * model.hidden).seconds * PS_PER_S)
