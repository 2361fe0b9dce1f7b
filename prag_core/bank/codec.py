"""The codec: adapters as bytes, and back, in the number formats of the tiers, such that any language can read them.

A value is the layout's modules in order; of each first `a` [rank, in], then `b` [out, rank], row by row, little-endian,
without gaps or padding between. fp32 and bf16 are plain numbers. int8 and int4 store, for each matrix, its float32
steps (one a rank component: per row of a, per column of b) and then its codes; x ≈ code · step, with
step = max|x| / (2^(bits-1) - 1) and round to nearest. int4 packs two two's-complement codes a byte, the low
nibble first; an odd count leaves the last high nibble zero. `describe` spells out all the offsets.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np

from prag_core.config.schema import Tier
from prag_core.errors import CorruptBankError
from prag_core.models.lora import AdapterLayout, check_factors
from prag_core.records import AdapterFactors, Factors

BITS = {Tier.int8: 8, Tier.int4: 4}
LARGEST = np.finfo(np.float32).max
Shape = tuple[int, int]


def encode(factors: AdapterFactors, layout: AdapterLayout, tier: Tier | str) -> bytes:
    """Encode one adapter. Raises ModelError when the factors are not the layout's, or not finite."""
    check_factors(factors, layout)
    tier = Tier(tier)
    parts: list[bytes] = []
    for name, _, _ in layout.shapes():
        parts += [_encode_matrix(factors[name].a, 1, tier), _encode_matrix(factors[name].b, 0, tier)]
    return b"".join(parts)


def decode(data: bytes, layout: AdapterLayout, tier: object) -> AdapterFactors:
    """Decode one adapter to float32. Raises CorruptBankError when `data` is not of the layout's length, or has steps that no
    adapter was encoded with."""
    tier = _known(tier)
    if len(data) != encoded_size(layout, tier):
        raise CorruptBankError(
            f"an adapter of {len(data)} bytes, expected {encoded_size(layout, tier)} in tier {tier.value}"
        )
    buffer = bytearray(data)  # writable, so that what is decoded may be changed in place
    matrices = (
        _decode_matrix(buffer, offset, shape, axis, tier)
        for _, shape, axis, offset in _matrices(layout, tier)
    )
    return {module.name: Factors(next(matrices), next(matrices)) for module in layout.modules}


def _known(tier: object) -> Tier:
    try:
        return Tier(tier)
    except ValueError:
        raise CorruptBankError(f"{tier!r:.40} is no tier that this version knows") from None


def encoded_size(layout: AdapterLayout, tier: object) -> int:
    """Number of bytes of one encoded adapter. Raises CorruptBankError for an unknown tier."""
    tier = _known(tier)
    return sum(_matrix_size(shape, layout.rank, tier) for _, a, b in layout.shapes() for shape in (a, b))


def describe(layout: AdapterLayout, tier: Tier | str) -> dict[str, Any]:
    """The byte layout as JSON, for readers in any language: every matrix's offset, shape, dtype and steps."""
    tier = Tier(tier)
    sections = []
    for name, shape, axis, offset in _matrices(layout, tier):
        section: dict[str, Any] = {"name": name, "shape": shape, "dtype": tier.value, "offset": offset}
        if tier in BITS:
            section |= {
                "steps_offset": offset,
                "steps": layout.rank,
                "steps_axis": 1 - axis,
                "offset": offset + 4 * layout.rank,
            }
        sections.append(section)
    return {
        "tier": tier.value,
        "byte_order": "little",
        "order": "row-major",
        "steps_dtype": "fp32",
        "int4": "low nibble first",
        "bytes": encoded_size(layout, tier),
        "scaling": layout.scaling,
        "layout": layout.to_json(),
        "matrices": sections,
    }


def _matrices(layout: AdapterLayout, tier: Tier) -> Iterator[tuple[str, Shape, int, int]]:
    """Name, shape, the axis a step spans, and byte offset of every matrix in order."""
    offset = 0
    for name, shape_a, shape_b in layout.shapes():
        for factor, shape, axis in (("a", shape_a, 1), ("b", shape_b, 0)):
            yield f"{name}.{factor}", shape, axis, offset
            offset += _matrix_size(shape, layout.rank, tier)


def _matrix_size(shape: Shape, rank: int, tier: Tier) -> int:
    count = shape[0] * shape[1]
    if tier in BITS:
        return 4 * rank + (count * BITS[tier] + 7) // 8
    return count * (4 if tier is Tier.fp32 else 2)


def _encode_matrix(matrix: np.ndarray, axis: int, tier: Tier) -> bytes:
    matrix = np.ascontiguousarray(matrix, dtype="<f4")
    if tier is Tier.fp32:
        return matrix.tobytes()
    if tier is Tier.bf16:
        return matrix.astype(ml_dtypes.bfloat16).tobytes()
    limit = 2 ** (BITS[tier] - 1) - 1
    # Contiguous rows are reduced many times faster than short columns.
    rows = np.ascontiguousarray(np.moveaxis(np.abs(matrix), axis, -1))
    steps = np.expand_dims(rows.max(-1), axis) / np.float32(limit)
    steps = np.minimum(
        steps, np.nextafter(LARGEST / np.float32(limit), np.float32(0))
    )  # rounded up it would overflow
    codes = np.clip(np.rint(matrix / np.where(steps > 0, steps, np.float32(1))), -limit, limit)
    codes = np.where(steps > 0, codes, 0).astype(np.int8).ravel()
    return steps.astype("<f4").tobytes() + (codes.tobytes() if tier is Tier.int8 else _pack_nibbles(codes))


def _decode_matrix(buffer: bytearray, offset: int, shape: Shape, axis: int, tier: Tier) -> np.ndarray:
    count = shape[0] * shape[1]
    if tier is Tier.fp32:
        return np.frombuffer(buffer, "<f4", count, offset).reshape(shape)
    if tier is Tier.bf16:
        return np.frombuffer(buffer, ml_dtypes.bfloat16, count, offset).astype(np.float32).reshape(shape)
    rank = shape[1 - axis]
    steps = np.expand_dims(np.frombuffer(buffer, "<f4", rank, offset), axis)
    start = offset + 4 * rank
    codes = (
        np.frombuffer(buffer, np.int8, count, start)
        if tier is Tier.int8
        else _unpack_nibbles(buffer, start, count)
    )
    codes = codes.reshape(shape).astype(np.float32)
    if np.abs(steps).max() <= LARGEST / 2 ** (BITS[tier] - 1):
        return codes * steps
    with np.errstate(over="ignore", invalid="ignore"):
        matrix = codes * steps
    if not np.isfinite(matrix).all():
        raise CorruptBankError(f"an adapter in tier {tier.value} whose steps are too large, or no numbers")
    return matrix


def _pack_nibbles(codes: np.ndarray) -> bytes:
    nibbles = np.zeros(len(codes) + len(codes) % 2, dtype=np.uint8)
    nibbles[: len(codes)] = codes.view(np.uint8) & 0x0F
    return (nibbles[::2] | (nibbles[1::2] << 4)).tobytes()


def _unpack_nibbles(buffer: bytearray, offset: int, count: int) -> np.ndarray:
    packed = np.frombuffer(buffer, np.uint8, (count + 1) // 2, offset)
    nibbles = np.stack([packed & 0x0F, packed >> 4], axis=1).ravel()[:count].astype(np.int8)
    return np.where(nibbles > 7, nibbles - 16, nibbles)
