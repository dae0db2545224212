"""The catalog in the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from ..catalog import Gpu, Model, Stored
from ..catalog.formats import BF16, Format
from ..units import GIB
from .console import plain_table

CONTEXTS = {"8k": 8_192, "128k": 131_072, "1M": 1_048_576}

RATES = {"BF16": "bf16_flops", "FP8": "fp8_flops", "FP4": "fp4_flops", "INT8": "int8_flops"}


def _lines(lines: dict[str, str]) -> Iterator[Text]:
    width = max(len(label) for label in lines)
    for label, text in lines.items():
        for part in text.split("\n"):
            yield Text.assemble((f"{label:>{width}}  ", "dim"), part)
            label = ""


def gpu_table(gpus: Iterable[Gpu]) -> RenderableType:
    """Rates in dense TFLOPS."""
    table = plain_table("GPU", "memory GiB", "TB/s", *RATES, "link GB/s", "$ an hour", "listed")
    for gpu in gpus:
        rates = [f"{rate / 1e12:,.0f}" if (rate := getattr(gpu, field)) else "" for field in RATES.values()]
        price = ("", "") if gpu.price is None else (f"{gpu.price.usd:.2f}", gpu.price.date)
        table.add_row(
            gpu.name,
            f"{gpu.memory_bytes / GIB:.2f}",
            f"{gpu.memory_bytes_per_s / 1e12:.2f}",
            *rates,
            f"{gpu.link.bytes_per_s / 1e9:,.0f}",
            *price,
        )
    note = "Rates: dense TFLOPS, from data sheets. Links: each direction. Prices: cluster.gpu_price_per_hour overrides."
    return Group(table, Text(note, "dim"))


def one_gpu(gpu: Gpu) -> RenderableType:
    rates = [f"{name} {rate / 1e12:,.1f}" for name, field in RATES.items() if (rate := getattr(gpu, field))]
    price = "no list price known; give cluster.gpu_price_per_hour"
    if gpu.price is not None:
        price = f"${gpu.price.usd:.2f} an hour ({gpu.price.source}, {gpu.price.date})"
    lines = {
        "memory": f"{gpu.memory_bytes / GIB:.2f} GiB as programs see it, {gpu.memory_bytes_per_s / 1e12:.3f} TB/s",
        "rates": f"{', '.join(rates)} TFLOPS, dense",
        "link": f"{gpu.link.name}, {gpu.link.bytes_per_s / 1e9:,.0f} GB/s each direction, {gpu.link.domain} GPUs",
        "host": f"PCIe, {gpu.pcie_bytes_per_s / 1e9:,.1f} GB/s each direction",
        "price": price,
        "vLLM": f"the {'larger' if gpu.large_batches else 'smaller'} defaults of its budget and sequences",
    }
    return Group(Text(gpu.title, "bold"), *_lines(lines))


def model_table(models: Iterable[Model]) -> RenderableType:
    table = plain_table("model", "parameters", "used a token", "weights", "of which experts", "KV at 8k", "128k", "1M")
    for model in models:
        table.add_row(
            model.name,
            _count(model.parameters),
            _count(model.active_parameters),
            _size(model.weight_bytes()),
            model.stored.experts.name if model.has_experts else "",
            *(
                _size(model.cache_bytes(context, model.stored.kv or BF16)) if context <= model.max_positions else ""
                for context in CONTEXTS.values()
            ),
        )
    note = "Weights as the checkpoint holds them; KV of one request in 16 bits, left out beyond the model's positions."
    return Group(table, Text(note, "dim"))


def one_model(model: Model, stored: Stored, kv: Format | None) -> RenderableType:
    """`stored` and `kv`: the formats to show it in; a cache in bfloat16 if `kv` is None."""
    cache = kv or BF16
    parts = model.part_parameters()
    weights = [
        f"{part.value.replace('_', ' ')} {_size(size)} ({_count(parts[part])} in {stored.of(part).name})"
        for part, size in model.part_bytes(stored).items()
    ]
    lines = {
        "layers": "\n".join(model.kinds()),
        "parameters": f"{_count(model.parameters)}, {_count(model.active_parameters)} used a token",
        "positions": f"{model.max_positions:,}",
        "weights": f"{_size(model.weight_bytes(stored))}: " + "\n".join(weights),
    }
    if model.mtp:
        lines["prediction"] = f"of several tokens: {_count(model.mtp_parameters)} more, where it is used"
    if model.left_out:
        lines["not counted"] = ", ".join(model.left_out)
    lines["simulate"] = _simulated(model)
    table = plain_table("context", f"KV in {cache.name}", "KV a token", "FLOPs a token", "bytes a token", "of which KV")
    for name, context in CONTEXTS.items():
        held, read = model.cache_bytes(context, cache), model.read_bytes(context, cache)
        table.add_row(
            name if context <= model.max_positions else f"{name} (beyond)",
            _size(held),
            _size(held / context),
            _flops(model.flops(context)),
            _size(model.token_weight_bytes(stored) + read),
            _size(read),
        )
    note = "A token: one more of one request alone. Bytes: the weights it uses, once, and the cache it reads."
    return Group(Text(model.name, "bold"), *_lines(lines), table, Text(note, "dim"))


def _simulated(model: Model) -> str:
    unpaged, beyond = model.unpaged(), model.beyond_roofline()
    if unpaged:
        return f"depends on the engine: {', '.join(unpaged)} (docs/catalog.md)"
    return f"runs it; analytic prices {', '.join(beyond)} on GPUs with measured operators" if beyond else "runs it"


def _size(size: float) -> str:
    return _scaled(size, ("B", "kB", "MB", "GB", "TB"))


def _count(count: float) -> str:
    return _scaled(count, ("", "k", "M", "B", "T"))


def _flops(count: float) -> str:
    return _scaled(count, ("", "k", "M", "G", "T"))


def _scaled(value: float, units: tuple[str, ...]) -> str:
    """In decimal thousands."""
    index = 0
    while value >= 999.5 and index < len(units) - 1:
        value, index = value / 1000, index + 1
    return f"{value:.{0 if value >= 100 or not index else 1 if value >= 10 else 2}f} {units[index]}".rstrip()
