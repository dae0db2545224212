"""GPUs by name. Figures of the vendor's data sheets, but `memory_bytes`.

`memory_bytes` is what CUDA reports as the device's total: the amount that vLLM's gpu_memory_utilization is a
share of. It is less than the memory printed on the box. Read from PyTorch's own messages
("has a total capacity of 79.11 GiB"), to 0.01 GiB; the RTX 4090's is exact, from a recorded vLLM run. `smi_mib` is what
`nvidia-smi` reports as memory.total, which SGLang derives its defaults from.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..units import GIB


@dataclass(frozen=True)
class Gpu:
    """One kind of GPU. Rates are dense, without sparsity, per second."""

    name: str
    title: str
    memory_bytes: int
    memory_bytes_per_s: float
    bf16_flops: float
    fp8_flops: float | None
    """None: the tensor cores have no FP8."""
    link_bytes_per_s: float
    """To the GPUs of the same machine, one direction."""
    large_batches: bool
    """Whether vLLM gives it the larger defaults: 70 GiB or more and not an A100."""
    smi_mib: int


GPUS = {
    gpu.name: gpu
    for gpu in (
        # NVIDIA H100 data sheet, SXM5: 3.35 TB/s, 1,979 TFLOPS BF16 and 3,958 FP8 with sparsity (half of it
        # without), NVLink 900 GB/s both ways.
        Gpu("h100", "NVIDIA H100 SXM 80GB", int(79.11 * GIB), 3.35e12, 989.5e12, 1979e12, 450e9, True, 81_559),
        # NVIDIA H200 data sheet, SXM: 4.8 TB/s, the H100's arithmetic.
        Gpu("h200", "NVIDIA H200 SXM 141GB", int(139.80 * GIB), 4.8e12, 989.5e12, 1979e12, 450e9, True, 143_771),
        # NVIDIA A100 data sheet, SXM4 80GB: 2,039 GB/s, 312 TFLOPS BF16, NVLink 600 GB/s both ways.
        Gpu("a100-80g", "NVIDIA A100 SXM 80GB", int(79.15 * GIB), 2.039e12, 312e12, None, 300e9, False, 81_920),
        # NVIDIA Ada GPU architecture paper, table 2: 1,008 GB/s, 165.2 TFLOPS BF16 and 330.3 FP8 with FP32
        # accumulate, no NVLink; PCIe 4.0 x16 is 31.5 GB/s each way.
        Gpu("rtx4090", "NVIDIA GeForce RTX 4090", 25_250_627_584, 1.008e12, 165.2e12, 330.3e12, 31.5e9, False, 24_564),
    )
}

ALIASES = {
    "h100-sxm": "h100",
    "h100_sxm": "h100",
    "h200-sxm": "h200",
    "h200_sxm": "h200",
    "a100": "a100-80g",
    "a100_sxm": "a100-80g",
    "a100-80gb": "a100-80g",
    "4090": "rtx4090",
    "rtx-4090": "rtx4090",
    "rtx_4090": "rtx4090",
}
