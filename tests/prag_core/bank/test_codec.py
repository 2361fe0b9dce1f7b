from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from prag_core.bank.codec import decode, describe, encode, encoded_size
from prag_core.errors import CorruptBankError, ModelError
from prag_core.models.lora import AdapterLayout, ModuleShape
from prag_core.records import AdapterFactors, Factors

LAYOUT = AdapterLayout((ModuleShape("m.gate_proj", 7, 5), ModuleShape("m.down_proj", 5, 3)), 3, 16.0)


def random_factors(seed: int, scale: float = 1.0) -> AdapterFactors:
    draw = np.random.default_rng(seed)
    return {
        n: Factors((scale * draw.normal(size=a)).astype("f4"), (scale * draw.normal(size=b)).astype("f4"))
        for n, a, b in LAYOUT.shapes()
    }


def test_fp32_comes_back_bit_for_bit() -> None:
    factors = random_factors(0)
    found = decode(encode(factors, LAYOUT, "fp32"), LAYOUT, "fp32")
    assert list(found) == list(factors)
    for name, pair in factors.items():
        assert found[name].a.dtype == np.float32
        np.testing.assert_array_equal(found[name].a, pair.a)
        np.testing.assert_array_equal(found[name].b, pair.b)


def test_bf16_rounds_as_torch_does() -> None:
    factors = random_factors(1, scale=1e3)
    found = decode(encode(factors, LAYOUT, "bf16"), LAYOUT, "bf16")
    for name, pair in factors.items():
        np.testing.assert_array_equal(found[name].a, torch.from_numpy(pair.a).bfloat16().float().numpy())


@pytest.mark.parametrize(("tier", "limit"), [("int8", 127), ("int4", 7)])
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_quantised_values_are_within_half_a_step_per_rank_component(
    tier: str, limit: int, scale: float
) -> None:
    factors = random_factors(2, scale)
    found = decode(encode(factors, LAYOUT, tier), LAYOUT, tier)
    for name, pair in factors.items():
        for there, here, axis in ((found[name].a, pair.a, 1), (found[name].b, pair.b, 0)):
            step = np.abs(here).max(axis=axis, keepdims=True) / limit
            assert np.all(np.abs(there - here) <= step * 0.5001)
            np.testing.assert_allclose(np.abs(there).max(axis=axis), np.abs(here).max(axis=axis), rtol=1e-6)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("tier", ["int8", "int4"])
def test_the_largest_numbers_come_back_without_overflow(tier: str) -> None:
    largest = np.finfo("f4").max
    factors = {n: Factors(np.full(a, largest), np.full(b, -largest)) for n, a, b in LAYOUT.shapes()}
    for name, pair in decode(encode(factors, LAYOUT, tier), LAYOUT, tier).items():
        np.testing.assert_allclose(pair.a, factors[name].a, rtol=1e-6)
        np.testing.assert_allclose(pair.b, factors[name].b, rtol=1e-6)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("tier", ["int8", "int4"])
@pytest.mark.parametrize("step", [np.inf, -np.inf, np.nan, 3e38])
def test_steps_that_give_no_numbers_are_damage(tier: str, step: float) -> None:
    data = bytearray(encode(random_factors(6), LAYOUT, tier))
    data[4:8] = np.float32(step).tobytes()
    with pytest.raises(CorruptBankError, match=rf"tier {tier} whose steps"):
        decode(bytes(data), LAYOUT, tier)


@st.composite
def adapters(draw: st.DrawFn) -> tuple[AdapterLayout, AdapterFactors]:
    """Any layout of up to three modules, with any factors of ordinary size, zeros among them."""
    sizes = st.integers(1, 6)
    modules = tuple(ModuleShape(f"m{i}", draw(sizes), draw(sizes)) for i in range(draw(st.integers(1, 3))))
    layout = AdapterLayout(modules, draw(sizes), 1.0)
    values = st.floats(-(2.0**99), 2.0**99, width=32) | st.just(0.0)
    factors = {
        name: Factors(*(draw(arrays.arrays(np.float32, shape, elements=values)) for shape in shapes))
        for name, *shapes in layout.shapes()
    }
    return layout, factors


ONE_BY_ONE = AdapterLayout((ModuleShape("m", 1, 1),), 1, 1.0)
ZERO = Factors(np.zeros((1, 1), "f4"), np.zeros((1, 1), "f4"))


@settings(max_examples=60, deadline=None)
@given(adapters(), st.sampled_from(["fp32", "bf16", "int8", "int4"]))
@example((ONE_BY_ONE, {"m": ZERO}), "int4")
def test_a_round_trip_of_any_adapter_errs_by_half_a_step_at_most(
    adapter: tuple[AdapterLayout, AdapterFactors], tier: str
) -> None:
    layout, factors = adapter
    data = encode(factors, layout, tier)
    assert len(data) == encoded_size(layout, tier)
    decoded = decode(data, layout, tier)
    assert list(decoded) == list(factors)
    smallest = np.finfo(np.float32).tiny  # steps of subnormal numbers have no precision left
    for name, pair in factors.items():
        for before, after, axis in ((pair.a, decoded[name].a, 1), (pair.b, decoded[name].b, 0)):
            step = {
                "fp32": np.zeros_like(before),
                "bf16": np.abs(before) * 2.0**-7,
                "int8": np.abs(before).max(axis=axis, keepdims=True) / 127,
                "int4": np.abs(before).max(axis=axis, keepdims=True) / 7,
            }[tier]
            assert after.dtype == np.float32 and after.shape == before.shape
            assert np.all(np.abs(after.astype("f8") - before) <= 0.5001 * step + smallest)


@pytest.mark.parametrize("tier", ["int8", "int4"])
def test_zero_rows_and_columns_stay_zero(tier: str) -> None:
    factors = random_factors(3)
    factors["m.gate_proj"].a[1] = 0
    factors["m.gate_proj"].b[:] = 0
    found = decode(encode(factors, LAYOUT, tier), LAYOUT, tier)["m.gate_proj"]
    assert not found.a[1].any() and not found.b.any() and found.a[0].any()


@pytest.mark.parametrize("tier", ["fp32", "bf16", "int8", "int4"])
def test_the_description_alone_is_enough_to_read_a_value(tier: str) -> None:
    """A second reader, written from the spelt-out offsets only."""
    factors = random_factors(4)
    data, about = encode(factors, LAYOUT, tier), describe(LAYOUT, tier)
    assert len(data) == about["bytes"] == encoded_size(LAYOUT, tier)
    expected = decode(data, LAYOUT, tier)
    for matrix in about["matrices"]:
        module, part = matrix["name"].rsplit(".", 1)
        rows, columns = matrix["shape"]
        values = np.zeros((rows, columns), dtype="f4")
        for place in range(rows * columns):
            row, column = divmod(place, columns)
            if tier == "fp32":
                value = np.frombuffer(data, "<f4", 1, matrix["offset"] + 4 * place)[0]
            elif tier == "bf16":
                value = np.frombuffer(b"\0\0" + data[matrix["offset"] + 2 * place :][:2], "<f4")[0]
            else:
                component = (row, column)[matrix["steps_axis"]]
                step = np.frombuffer(data, "<f4", 1, matrix["steps_offset"] + 4 * component)[0]
                code = data[matrix["offset"] + place // (2 if tier == "int4" else 1)]
                bits = 4 if tier == "int4" else 8
                code = (code >> (4 * (place % 2)) & 15) if tier == "int4" else code
                value = step * (code - (1 << bits) if code >= 1 << (bits - 1) else code)
            values[row, column] = value
        np.testing.assert_array_equal(values, getattr(expected[module], part))


def test_int4_packs_the_low_nibble_first() -> None:
    layout = AdapterLayout((ModuleShape("m", 3, 1),), 1, 1.0)
    data = encode({"m": Factors(np.array([[7, -1, 3]], "f4"), np.array([[7]], "f4"))}, layout, "int4")
    assert data[4:6] == bytes([7 | 15 << 4, 3])


def test_what_does_not_fit_the_layout_is_refused() -> None:
    factors = random_factors(5)
    with pytest.raises(ModelError, match="expected"):
        encode(
            {**factors, "m.down_proj": Factors(factors["m.down_proj"].a[:2], factors["m.down_proj"].b)},
            LAYOUT,
            "fp32",
        )
    factors["m.down_proj"].a[0, 0] = np.nan
    with pytest.raises(ModelError, match="not finite"):
        encode(factors, LAYOUT, "int8")
    with pytest.raises(CorruptBankError, match="bytes"):
        decode(b"\0" * 11, LAYOUT, "fp32")
