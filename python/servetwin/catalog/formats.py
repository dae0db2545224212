"""How numbers are stored: bits an element, scales included, and the arithmetic they are meant for."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from ..errors import InputError


@dataclass(frozen=True)
class Format:
    """One way to store the elements of a matrix or of a cache."""

    name: str
    bits: Fraction
    """Of one element, with its share of a scale."""
    arithmetic: str
    """The rate of the GPU it computes at, where the GPU has it; all others compute in bfloat16."""

    def size(self, elements: int) -> int:
        """Bytes, rounded up."""
        return -(-elements * self.bits.numerator // (8 * self.bits.denominator))


BF16 = Format("bf16", Fraction(16), "bf16")
FP32 = Format("fp32", Fraction(32), "bf16")
FP8 = Format("fp8", Fraction(8), "fp8")
"""A scale a tensor or a row: less than 0.1 % more."""

FORMATS = {
    one.name: one
    for one in (
        BF16,
        FP8,
        # A float32 scale for each block of 128 × 128.
        Format("fp8_block", 8 + Fraction(32, 128 * 128), "fp8"),
        Format("int8", Fraction(8), "int8"),
        # Weights only, as AWQ, GPTQ and compressed-tensors store them: a 16-bit scale for 32, 64 or 128.
        Format("int4_g32", 4 + Fraction(16, 32), "bf16"),
        Format("int4_g64", 4 + Fraction(16, 64), "bf16"),
        Format("int4", 4 + Fraction(16, 128), "bf16"),
        # OCP microscaling: an 8-bit exponent for 32.
        Format("mxfp4", 4 + Fraction(8, 32), "fp4"),
        # NVIDIA: an FP8 scale for 16.
        Format("nvfp4", 4 + Fraction(8, 16), "fp4"),
    )
}
CACHE_FORMATS = {one.name: one for one in (BF16, FP8)}


def weight_format(name: str) -> Format:
    """Raises InputError for a name that is not known."""
    return _known(name, FORMATS)


def cache_format(name: str) -> Format:
    """Of a cache. Raises InputError for a name that is not known."""
    return _known(name, CACHE_FORMATS)


def _known(name: str, formats: dict[str, Format]) -> Format:
    if name not in formats:
        raise InputError("unknown format", found=repr(name), wanted=f"one of {', '.join(formats)}")
    return formats[name]
