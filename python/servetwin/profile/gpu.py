"""torch's kernels on a CUDA GPU: cuBLAS products, its own attention, and eager kernels for the rest.

They are not an engine's: its fused norms and its attention over paged blocks differ. Weights are cold when an engine
comes to a layer, so the second-level cache is overwritten before each time.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

from ..errors import InputError
from .plan import Attend, Grouped, Operation, Product, Stream

FLUSHED_BYTES = 256 * 2**20
"""More than any GPU's second-level cache."""

INSTALL = "`pip install 'servetwin[profile]'`, on a machine with an NVIDIA GPU"


class TorchClock:
    """Raises InputError without torch, or without a GPU it can use."""

    def __init__(self) -> None:
        try:
            import torch
        except ImportError:
            raise InputError("torch is not installed, which times the operators", wanted=INSTALL) from None
        if not torch.cuda.is_available():
            raise InputError(
                f"torch {torch.__version__} finds no GPU to time operators on",
                wanted="a machine with an NVIDIA GPU and its driver, or --dry-run for the plan alone",
            )
        self.torch: Any = torch
        self._flushed = torch.empty(FLUSHED_BYTES, dtype=torch.int8, device="cuda")

    def prepare(self, operation: Operation) -> Callable[[], float]:
        run = self._kernels(operation)
        start, end = (self.torch.cuda.Event(enable_timing=True) for _ in range(2))

        def once() -> float:
            self._flushed.zero_()
            start.record()
            run()
            end.record()
            end.synchronize()
            return float(start.elapsed_time(end)) * 1e3

        return once

    def _kernels(self, operation: Operation) -> Callable[[], object]:
        if isinstance(operation, Product):
            x, w = self._numbers(operation.tokens, operation.inputs), self._numbers(operation.outputs, operation.inputs)
            return lambda: self.torch.nn.functional.linear(x, w)
        if isinstance(operation, Attend):
            return self._attention(operation)
        if isinstance(operation, Grouped):
            return self._grouped(operation)
        return self._stream(operation)

    def _numbers(self, *sizes: int) -> Any:
        return self.torch.randn(*sizes, dtype=self.torch.bfloat16, device="cuda")

    def _attention(self, shape: Attend) -> Callable[[], object]:
        functional, parts = self.torch.nn.functional, []
        if shape.chunk:
            seen = shape.past + shape.chunk
            query = self._numbers(1, shape.heads, shape.chunk, shape.head_dim)
            keys, values = (self._numbers(1, shape.kv_heads, seen, shape.head_dim) for _ in range(2))
            bias = self.torch.nn.attention.bias.causal_lower_right(shape.chunk, seen) if shape.past else None
            parts.append((query, keys, values, bias, not shape.past))
        if shape.rows:
            query = self._numbers(shape.rows, shape.heads, 1, shape.head_dim)
            keys, values = (self._numbers(shape.rows, shape.kv_heads, shape.context, shape.head_dim) for _ in range(2))
            parts.append((query, keys, values, None, False))

        def run() -> None:
            for query, keys, values, bias, causal in parts:
                functional.scaled_dot_product_attention(
                    query, keys, values, attn_mask=bias, is_causal=causal, enable_gqa=True
                )

        return run

    def _grouped(self, shape: Grouped) -> Callable[[], object]:
        """As many rows for each expert, rounded up."""
        each = -(-shape.tokens * shape.active // shape.activated)
        x = self._numbers(shape.activated, each, shape.hidden)
        first = self._numbers(shape.activated, shape.hidden, 2 * shape.inner)
        second = self._numbers(shape.activated, shape.inner, shape.hidden)

        def run() -> object:
            gate, up = self.torch.bmm(x, first).chunk(2, dim=-1)
            return self.torch.bmm(self.torch.nn.functional.silu(gate) * up, second)

        return run

    def _stream(self, shape: Stream) -> Callable[[], object]:
        functional, x = self.torch.nn.functional, self._numbers(shape.tokens, shape.width)
        if shape.kind == "norm":
            weight, residual = self._numbers(shape.width), self._numbers(shape.tokens, shape.width)
            return lambda: functional.rms_norm(residual.add_(x), (shape.width,), weight)
        if shape.kind == "activation":
            up = self._numbers(shape.tokens, shape.width)
            return lambda: functional.silu(x) * up
        if shape.kind == "rotation":
            turn = self._numbers(shape.tokens, shape.width)
            return lambda: x.mul_(turn)
        if shape.kind == "lookup":
            table = self._numbers(32768, shape.width)
            rows = self.torch.randint(0, 32768, (shape.tokens,), device="cuda")
            return lambda: functional.embedding(rows, table)
        logits = x.float()
        return lambda: self.torch.softmax(logits, dim=-1).argmax(dim=-1)

    def describe(self) -> dict[str, str | int | float]:
        properties = self.torch.cuda.get_device_properties(0)
        return {
            "gpu": properties.name,
            "gpu_memory_bytes": properties.total_memory,
            "processors": properties.multi_processor_count,
            "torch_version": self.torch.__version__,
            "cuda_version": self.torch.version.cuda or "",
            **_clocks(),
        }


def _clocks() -> dict[str, str]:
    """As the driver reports them; nothing where it cannot be asked."""
    fields = ("driver_version", "clocks.sm", "clocks.mem", "clocks.max.sm", "power.limit")
    command = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader", "-i", "0"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    values = [value.strip() for value in answer.strip().split(",")]
    return dict(zip((field.replace(".", "_") for field in fields), values, strict=False))
