from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prag_core.bank import AdapterReader
from prag_core.bank.reader import read_adapter_rows, read_usable
from prag_core.errors import BankError, CorruptBankError
from prag_core.records import AdapterFactors
from prag_core.storage import FileSystem, put_whole, read
from tests.prag_core.bank.world import Filled, World


def assert_same(found: AdapterFactors, expected: AdapterFactors) -> None:
    assert list(found) == list(expected)
    for name in expected:
        np.testing.assert_array_equal(found[name].a, expected[name].a)
        np.testing.assert_array_equal(found[name].b, expected[name].b)


def test_adapters_of_any_id_come_back_in_the_order_asked(bank_uri: str, world: World) -> None:
    filled = world.fill(world.bank(bank_uri), world.odd_ids)
    reader = AdapterReader(filled.bank, filled.bank.require_snapshot())
    keys = list(reversed(filled.keys))
    found = reader.fetch(keys)
    assert list(found) == keys
    for key in keys:
        assert_same(found[key], filled.factors[key])


def test_one_ranged_request_an_adapter_and_nothing_else(
    filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = AdapterReader(filled.bank, filled.bank.require_snapshot())
    reader.entries([("a", 0)])  # the index is read
    requests, original = [], type(filled.bank.fs).cat_file

    def spy(
        fs: FileSystem, path: str, start: int | None = None, end: int | None = None, **kwargs: object
    ) -> bytes:
        requests.append((path, start, end))
        return original(fs, path, start, end, **kwargs)

    monkeypatch.setattr(type(filled.bank.fs), "cat_file", spy)
    monkeypatch.setattr(type(filled.bank.fs), "info", lambda *a, **k: pytest.fail("a file was looked up"))
    reader.fetch([("a", 0), ("c", 0), ("b", 0)])
    entries = reader.entries([("a", 0), ("c", 0), ("b", 0)])
    assert requests == [(filled.bank.path(e.place.path), e.place.start, e.place.end) for e in entries]


def test_on_s3_too_a_fetch_is_one_get_an_adapter(
    swift_uri: str, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled = world.fill(world.bank(swift_uri))
    reader = AdapterReader(filled.bank, filled.bank.require_snapshot())
    reader.entries([("a", 0)])
    calls, original = [], type(filled.bank.fs)._call_s3

    async def spy(fs: Any, method: str, *args: Any, **kwargs: Any) -> Any:
        calls.append((method, kwargs.get("Range")))
        return await original(fs, method, *args, **kwargs)

    monkeypatch.setattr(type(filled.bank.fs), "_call_s3", spy)
    reader.fetch([("a", 0), ("b", 0)])
    ranges = {f"bytes={e.place.start}-{e.place.end - 1}" for e in reader.entries([("a", 0), ("b", 0)])}
    assert (
        len(calls) == 2
        and {method for method, _ in calls} == {"get_object"}
        and {r for _, r in calls} == ranges
    )


def test_keys_without_an_adapter_are_named(filled: Filled) -> None:
    reader = AdapterReader(filled.bank, filled.bank.require_snapshot())
    for key in (("d", 0), ("a", 1), ("nobody", 0)):
        with pytest.raises(BankError, match=key[0]):
            reader.fetch([("a", 0), key])
    assert reader.fetch([]) == {}


def test_a_flipped_bit_is_noticed_and_named(filled: Filled) -> None:
    reader = AdapterReader(filled.bank, filled.bank.require_snapshot())
    (entry,) = reader.entries([("b", 0)])
    path = Path(filled.bank.path(entry.place.path))
    data = bytearray(path.read_bytes())
    data[(entry.place.start + entry.place.end) // 2] ^= 0x10
    path.write_bytes(data)
    with pytest.raises(CorruptBankError, match=r"adapters/shard0-.*'b' chunk 0"):
        reader.fetch([("a", 0), ("b", 0)])
    assert list(reader.fetch([("a", 0)])) == [("a", 0)]


def test_a_missing_object_is_named(filled: Filled) -> None:
    reader = AdapterReader(filled.bank, filled.bank.require_snapshot())
    (entry,) = reader.entries([("b", 0)])
    Path(filled.bank.path(entry.place.path)).unlink()
    with pytest.raises(CorruptBankError, match=r"adapters/shard0-.*missing"):
        reader.fetch([("b", 0)])


@pytest.mark.parametrize("length", [0, 100])
def test_a_short_object_is_named_with_the_document_and_loses_no_others(
    bank_uri: str, world: World, length: int
) -> None:
    filled = world.fill(world.bank(bank_uri))
    reader = AdapterReader(filled.bank, filled.bank.require_snapshot())
    entries = reader.entries(filled.keys)
    path = filled.bank.path(entries[0].place.path)
    put_whole(filled.bank.fs, path, read(filled.bank.fs, path)[:length])
    with pytest.raises(CorruptBankError, match=r"adapters/shard0-.*'a' chunk 0"):
        reader.fetch([("a", 0)])
    found, damaged = read_usable(filled.bank, entries)
    assert list(found) == [("c", 0), ("d", 0)] and list(damaged) == [("a", 0), ("b", 0)]


def test_what_a_network_garbles_once_is_read_again(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = AdapterReader(filled.bank, filled.bank.require_snapshot())
    reader.entries([("a", 0)])
    paths, original = [], type(filled.bank.fs).cat_file

    def garble(
        fs: FileSystem, path: str, start: int | None = None, end: int | None = None, **kwargs: object
    ) -> bytes:
        paths.append((path, start))
        data = bytes(original(fs, path, start, end, **kwargs))
        return data[:-1] if len(paths) == 2 else data

    monkeypatch.setattr(type(filled.bank.fs), "cat_file", garble)
    found = reader.fetch([("a", 0), ("b", 0), ("c", 0)])
    assert list(found) == [("a", 0), ("b", 0), ("c", 0)]
    assert_same(found["b", 0], filled.factors["b", 0])
    assert len(paths) == 4 and paths[3] == paths[1]


@pytest.mark.parametrize(
    "change",
    [
        {"start": -1},
        {"start": 1 << 50},
        {"length": 1 << 40},
        {"adapter_object": "/etc/passwd"},
        {"adapter_object": "../adapters/x.parquet"},
        {"tier": "fp8"},
        {"tier": None},
    ],
    ids=str,
)
def test_a_place_that_no_adapter_has_is_refused_before_it_is_read(
    filled: Filled, change: dict[str, Any]
) -> None:
    reader = AdapterReader(filled.bank, filled.bank.require_snapshot())
    (entry,) = reader.entries([("a", 0)])
    found, damaged = read_usable(filled.bank, [replace(entry, **change)])
    assert not found and list(damaged) == [("a", 0)]


def test_a_reader_survives_pickling(filled: Filled) -> None:
    reader = pickle.loads(pickle.dumps(AdapterReader(filled.bank, filled.bank.require_snapshot())))
    assert_same(reader.fetch([("a", 0)])["a", 0], filled.factors["a", 0])


def test_an_object_is_read_row_by_row(filled: Filled, world: World) -> None:
    (path,) = (f"adapters/{p.name}" for p in Path(filled.bank.root, "adapters").glob("shard0-*"))
    adapters = list(read_adapter_rows(filled.bank, path))
    assert [adapter.key for adapter in adapters] == [("a", 0), ("b", 0)]
    assert_same(adapters[1].factors, filled.factors["b", 0])
    assert adapters[0].loss_last == 1.25 and adapters[0].accepted is None
