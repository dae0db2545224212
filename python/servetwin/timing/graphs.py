"""CUDA graphs: which sizes an engine captures, by its own options.

vLLM: VllmConfig._set_cudagraph_sizes and CompilationConfig; 0.19 with 256 sequences is recorded with just these sizes.
SGLang: get_batch_sizes_to_capture and generate_prefill_cuda_graph_batch_sizes. TensorRT-LLM: CudaGraphConfig.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import ceil, log2
from typing import assert_never

from ..catalog import ResolvedEngine, ranks
from ..catalog.sglang import decode_graph_rows, prefill_graph_sizes
from ..spec import Spec
from ..spec.engine import SglangEngine, TrtllmEngine, VllmEngine

VLLM_LARGEST = 512
TRTLLM_LARGEST = 128


@dataclass(frozen=True)
class Captured:
    """Numbers of tokens, ascending: `decode` of passes that only decode, `piecewise` of any."""

    decode: tuple[int, ...] = ()
    piecewise: tuple[int, ...] = ()
    padded: bool = field(default=True)
    """Otherwise a graph serves passes of just its size."""

    @property
    def summary(self) -> str:
        """For people."""
        parts = [f"decodes up to {self.decode[-1]:,}"] if self.decode else []
        parts += [f"pieces up to {self.piecewise[-1]:,}"] if self.piecewise else []
        unpadded = "" if self.padded else ", not padded"
        return " and ".join(parts) + unpadded if parts else "none: every pass is launched eagerly"


def captured(spec: Spec, engine: ResolvedEngine) -> Captured:
    options = spec.engine
    match options:
        case VllmEngine():
            return _vllm(options, engine)
        case SglangEngine():
            return _sglang(spec, options, engine)
        case TrtllmEngine():
            return _trtllm(options)
        case _:
            assert_never(options)


def _vllm(options: VllmEngine, engine: ResolvedEngine) -> Captured:
    mode = options.cudagraph_mode
    if options.enforce_eager or mode == "NONE":
        return Captured()
    query = 1 if options.speculative is None else 1 + options.speculative.num_speculative_tokens
    budget = int(engine.options["max_num_batched_tokens"])
    if options.cudagraph_capture_sizes is not None:
        sizes = _ascending(size for size in options.cudagraph_capture_sizes if size <= budget)
    else:
        largest = min(options.max_cudagraph_capture_size or min(2 * engine.rows * query, VLLM_LARGEST), budget)
        every = (1, 2, 4, *range(8, 256, 8), *range(256, largest + 1, 16))
        sizes = _ascending(size for size in every if size <= largest)
    if query > 1 and sizes:
        # A pass of verifications computes a multiple of so many tokens.
        rounded = {-(-size // query) * query for size in sizes}
        sizes = _ascending(size for size in rounded if size <= max(sizes))
    decode = sizes if mode != "PIECEWISE" else ()
    return Captured(decode, sizes if mode in ("PIECEWISE", "FULL_AND_PIECEWISE") else ())


def _sglang(spec: Spec, options: SglangEngine, engine: ResolvedEngine) -> Captured:
    if options.disable_cuda_graph:
        return Captured()
    largest = options.cuda_graph_max_bs_decode or decode_graph_rows(engine.gpu, ranks(spec, engine.model).stage)
    if options.cuda_graph_bs_decode is not None:
        sizes: Iterable[int] = options.cuda_graph_bs_decode
    elif options.disable_cuda_graph_padding:
        sizes = range(1, largest + 1)
    else:
        every = (1, 2, 4, 8, 12, *range(16, 257, 8), *range(272, 512, 16), *range(512, largest + 1, 32))
        sizes = {*(size for size in every if size <= largest), largest}
    decode = _ascending(size for size in sizes if size <= engine.rows)
    # Stages turn graphs of prompts off (apply_cuda_graph_compatibility in srt/arg_groups/cuda_graph_hook.py).
    eager = options.disable_prefill_cuda_graph or spec.parallel.pipeline > 1
    prefill = () if eager else prefill_graph_sizes(engine.options["chunked_prefill_size"])
    return Captured(decode, prefill, not options.disable_cuda_graph_padding)


def _trtllm(options: TrtllmEngine) -> Captured:
    config = options.cuda_graph_config
    if config is None:
        return Captured()
    if config.batch_sizes is not None:
        sizes = _ascending(config.batch_sizes)
        return Captured(sizes, (), config.enable_padding)
    largest = config.max_batch_size or TRTLLM_LARGEST
    every = (1, 2, 4, *range(8, 129, 8)) if config.enable_padding else (*range(1, 32), 32, 64, 128)
    powers = (2**power for power in range(8, ceil(log2(largest)) if largest > 1 else 0))
    return Captured(
        _ascending(size for size in (*every, *powers, largest) if size <= largest), (), config.enable_padding
    )


def _ascending(sizes: Iterable[int]) -> tuple[int, ...]:
    return tuple(sorted(set(sizes)))
