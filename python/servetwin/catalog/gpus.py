"""GPUs by name. Figures of the vendor's data sheets, but `memory_bytes`.

`memory_bytes` is what the driver reports to a program as the device's total: the amount that an engine's memory
option is a share of. It is less than the memory printed on the box. Read from PyTorch's own messages
("has a total capacity of 79.11 GiB"), to 0.01 GiB; the RTX 4090's is exact, from a recorded vLLM run. `smi_mib` is what
`nvidia-smi` and `rocm-smi` report as the total, which SGLang derives its defaults from.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..units import GIB

GB, TB, TERA = 1e9, 1e12, 1e12


@dataclass(frozen=True)
class Link:
    """Between GPUs, for each of them, one direction."""

    name: str
    bytes_per_s: float
    domain: int
    """How many GPUs it joins."""


@dataclass(frozen=True)
class Price:
    """On demand, in US dollars for one GPU and hour, as one provider listed it. Prices move: give your own."""

    usd: float
    source: str
    date: str


@dataclass(frozen=True)
class Gpu:
    """One kind of GPU. Rates are dense, without sparsity, per second; 0: the matrix units do not have the type."""

    name: str
    title: str
    memory_bytes: int
    memory_bytes_per_s: float
    bf16_flops: float
    fp8_flops: float
    fp4_flops: float
    int8_flops: float
    link: Link
    pcie_bytes_per_s: float
    """To the host, one direction."""
    smi_mib: int
    processors: int
    """Streaming multiprocessors, or compute units."""
    large_batches: bool
    """Whether vLLM gives it the larger defaults: 70 GiB or more and not an A100."""
    price: Price | None = None

    def flops(self, arithmetic: str) -> float:
        """The rate for a type; that of bfloat16 where the GPU has no matrix units for it."""
        rates = {"fp8": self.fp8_flops, "fp4": self.fp4_flops, "int8": self.int8_flops}
        return rates.get(arithmetic, 0) or self.bf16_flops


_PCIE4 = Link("PCIe 4.0 x16", 31.5 * GB, 8)
_PCIE5 = Link("PCIe 5.0 x16", 63 * GB, 8)
_NVLINK3 = Link("NVLink 3", 300 * GB, 8)
_NVLINK4 = Link("NVLink 4", 450 * GB, 8)
_NVLINK5 = Link("NVLink 5", 900 * GB, 8)
_NVL72 = Link("NVLink 5", 900 * GB, 72)
# A bridge joins two boards, 600 GB/s both ways.
_BRIDGE = Link("NVLink bridge", 300 * GB, 2)

_LAMBDA = "Lambda, on demand, as reported by techbytes.app", "2026-05-07"
_SPHERON = "Spheron, on demand, by its own blog", "2026-03-17"
_RESEARCH = "on demand, as reported by cliffcenter.com", "2026-05-18"


def _gpu(
    name: str,
    title: str,
    memory_gib: float,
    bandwidth: float,
    rates: tuple[float, float, float, float],
    link: Link,
    pcie: float,
    smi_mib: int,
    processors: int,
    *,
    large: bool = True,
    price: tuple[float, tuple[str, str]] | None = None,
) -> Gpu:
    """`rates` in dense teraflops: BF16, FP8, FP4, INT8."""
    bf16, fp8, fp4, int8 = (rate * TERA for rate in rates)
    listed = None if price is None else Price(price[0], *price[1])
    memory = round(memory_gib * GIB)
    return Gpu(
        name, title, memory, bandwidth, bf16, fp8, fp4, int8, link, pcie * GB, smi_mib, processors, large, listed
    )


GPUS = {
    gpu.name: gpu
    for gpu in (
        # NVIDIA A100 data sheet, SXM4: 1,555 and 2,039 GB/s, 312 TFLOPS BF16, 624 TOPS INT8, NVLink 600 GB/s both ways.
        _gpu(
            "a100-40g",
            "NVIDIA A100 SXM 40GB",
            39.49,
            1.555 * TB,
            (312, 0, 0, 624),
            _NVLINK3,
            31.5,
            40_960,
            108,
            large=False,
            price=(1.48, _LAMBDA),
        ),
        _gpu(
            "a100-80g",
            "NVIDIA A100 SXM 80GB",
            79.15,
            2.039 * TB,
            (312, 0, 0, 624),
            _NVLINK3,
            31.5,
            81_920,
            108,
            large=False,
        ),
        # NVIDIA H100 data sheet. SXM5: 3.35 TB/s, with sparsity 1,979 TFLOPS BF16 and 3,958 FP8 (half of it without),
        # NVLink 900 GB/s both ways. PCIe: 2 TB/s, 1,513 and 3,026. NVL: 3.9 TB/s, 1,671 and 3,341.
        _gpu(
            "h100",
            "NVIDIA H100 SXM 80GB",
            79.11,
            3.35 * TB,
            (989.5, 1979, 0, 1979),
            _NVLINK4,
            63,
            81_559,
            132,
            price=(3.78, _LAMBDA),
        ),
        _gpu(
            "h100-pcie",
            "NVIDIA H100 PCIe 80GB",
            79.11,
            2.0 * TB,
            (756.5, 1513, 0, 1513),
            _BRIDGE,
            63,
            81_559,
            114,
            price=(2.86, _LAMBDA),
        ),
        _gpu("h100-nvl", "NVIDIA H100 NVL 94GB", 93.10, 3.9 * TB, (835.5, 1670.5, 0, 1670.5), _BRIDGE, 63, 95_830, 132),
        # NVIDIA H200 data sheet, SXM: 4.8 TB/s, the H100's arithmetic.
        _gpu(
            "h200",
            "NVIDIA H200 SXM 141GB",
            139.80,
            4.8 * TB,
            (989.5, 1979, 0, 1979),
            _NVLINK4,
            63,
            143_771,
            132,
            price=(4.54, _SPHERON),
        ),
        # NVIDIA HGX B200 data sheet, one of eight: 7.7 TB/s, 2.25 PFLOPS BF16, 4.5 FP8 and INT8, 9 FP4, NVLink 1.8 TB/s
        # both ways.
        _gpu(
            "b200",
            "NVIDIA B200 SXM 180GB",
            178.35,
            7.7 * TB,
            (2250, 4500, 9000, 4500),
            _NVLINK5,
            63,
            183_359,
            148,
            price=(6.03, _SPHERON),
        ),
        # NVIDIA HGX B300 data sheet, one of eight: 62 TB/s for all, 2.25 PFLOPS BF16, 4.5 FP8, 14 FP4 (dense), 307 TOPS
        # INT8 with sparsity.
        _gpu(
            "b300", "NVIDIA B300 SXM 288GB", 267.69, 7.75 * TB, (2250, 4500, 14000, 153.5), _NVLINK5, 126, 275_040, 148
        ),
        # NVIDIA GB200 NVL72 data sheet, one of 72: 8 TB/s, 2.5 PFLOPS BF16, 5 FP8 and INT8, 10 FP4. Half the price of a
        # superchip.
        _gpu(
            "gb200",
            "NVIDIA GB200 NVL72 186GB",
            184.31,
            8.0 * TB,
            (2500, 5000, 10000, 5000),
            _NVL72,
            63,
            189_471,
            148,
            price=(4.54, _SPHERON),
        ),
        # NVIDIA GB300 NVL72 data sheet, one of 72: 8 TB/s, 2.5 PFLOPS BF16, 5 FP8, 15 FP4 (dense), 330 TOPS INT8.
        _gpu(
            "gb300", "NVIDIA GB300 NVL72 288GB", 276.50, 8.0 * TB, (2500, 5000, 15000, 165), _NVL72, 126, 284_208, 148
        ),
        # NVIDIA L4 data sheet, with sparsity: 300 GB/s, 242 TFLOPS BF16, 485 FP8 and INT8.
        _gpu("l4", "NVIDIA L4 24GB", 22.03, 0.3 * TB, (121, 242.5, 0, 242.5), _PCIE4, 31.5, 23_034, 58, large=False),
        # NVIDIA L40S data sheet: 864 GB/s, 362 TFLOPS BF16, 733 FP8 and INT8 without sparsity.
        _gpu(
            "l40s", "NVIDIA L40S 48GB", 44.39, 0.864 * TB, (362.05, 733, 0, 733), _PCIE4, 31.5, 46_068, 142, large=False
        ),
        # NVIDIA Ada GPU architecture paper, table 2: 1,008 GB/s; with FP32 accumulate 165.2 TFLOPS BF16 and 330.3 FP8;
        # 660.6 TOPS INT8; no NVLink.
        _gpu(
            "rtx4090",
            "NVIDIA GeForce RTX 4090",
            25_250_627_584 / GIB,
            1.008 * TB,
            (165.2, 330.3, 0, 660.6),
            _PCIE4,
            31.5,
            24_564,
            128,
            large=False,
        ),
        # NVIDIA RTX Blackwell PRO architecture paper, table 4: 1,792 GB/s; with FP32 accumulate 503.8 TFLOPS BF16,
        # 1,007.6 FP8, 2,015.2 FP4, 1,007.6 TOPS INT8.
        _gpu(
            "rtx-pro-6000",
            "NVIDIA RTX PRO 6000 Blackwell 96GB",
            94.97,
            1.792 * TB,
            (503.8, 1007.6, 2015.2, 1007.6),
            _PCIE5,
            63,
            97_887,
            188,
        ),
        # AMD Instinct data sheets. MI300X: 5.3 TB/s, 1,307.4 TFLOPS BF16, 2,614.9 FP8 and INT8; seven Infinity Fabric
        # links of 128 GB/s both ways. MI325X: 6 TB/s, the same arithmetic. MI355X: 8 TB/s, 2,516.6, 5,033.2 and FP4
        # 10,066.3; seven links of 153.6 GB/s.
        _gpu(
            "mi300x",
            "AMD Instinct MI300X 192GB",
            191.69,
            5.3 * TB,
            (1307.4, 2614.9, 0, 2614.9),
            Link("Infinity Fabric", 448 * GB, 8),
            63,
            196_592,
            304,
            price=(1.85, ("Vultr, " + _RESEARCH[0], _RESEARCH[1])),
        ),
        _gpu(
            "mi325x",
            "AMD Instinct MI325X 256GB",
            255.69,
            6.0 * TB,
            (1307.4, 2614.9, 0, 2614.9),
            Link("Infinity Fabric", 448 * GB, 8),
            63,
            262_128,
            304,
            price=(1.95, ("TensorWave, " + _RESEARCH[0], _RESEARCH[1])),
        ),
        _gpu(
            "mi355x",
            "AMD Instinct MI355X 288GB",
            287.98,
            8.0 * TB,
            (2516.6, 5033.2, 10066.3, 5033.2),
            Link("Infinity Fabric", 537.6 * GB, 8),
            63,
            294_896,
            256,
        ),
    )
}

ALIASES = {
    "h100-sxm": "h100",
    "h100-nvl-94g": "h100-nvl",
    "h200-sxm": "h200",
    "a100": "a100-80g",
    "a100-sxm": "a100-80g",
    "a100-80gb": "a100-80g",
    "a100-sxm4-80gb": "a100-80g",
    "a100-40gb": "a100-40g",
    "a100-sxm4-40gb": "a100-40g",
    "b200-sxm": "b200",
    "b300-sxm": "b300",
    "gb200-nvl72": "gb200",
    "gb300-nvl72": "gb300",
    "4090": "rtx4090",
    "rtx-4090": "rtx4090",
    "rtxpro6000": "rtx-pro-6000",
    "rtx-pro-6000-server": "rtx-pro-6000",
}


def gpu_name(name: str) -> str:
    """`NVIDIA H100_SXM` is `h100`."""
    name = "-".join(name.lower().replace("_", " ").split())
    for maker in ("nvidia-", "amd-", "instinct-"):
        name = name.removeprefix(maker)
    return ALIASES.get(name, name)
