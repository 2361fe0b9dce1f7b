"""Arbitrary and mutated bytes in the place of any file of a bank: the readers give a value or a PragError, nothing else."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prag_core.bank import AdapterReader, Bank, Stage
from prag_core.bank.codec import decode, encode, encoded_size
from prag_core.bank.initial_adapter import WarmStart, read_warm_start, write_warm_start
from prag_core.bank.layout import ObjectInfo
from prag_core.bank.reader import read_adapter_rows, read_usable
from prag_core.bank.sealed import seal, unseal
from prag_core.bank.tables import documents_table, from_parquet, to_parquet
from prag_core.config.load import load_config
from prag_core.config.schema import RetrievalConfig, Tier
from prag_core.errors import PragError
from prag_core.models.lora import AdapterLayout
from prag_core.planning.estimate import Estimate
from prag_core.planning.plan import Plan, PlanCounts, Shard, load_unfinished, members_table, save_plan
from prag_core.planning.run_stats import read_run_stats, write_run_stats
from prag_core.retrieval import build_index, open_index
from tests.prag_core.bank.world import World

RUN = "20260101T000000.000000-00000000"
quick = settings(
    max_examples=60,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.sampled_from(["", "../x", "/etc/passwd", "0" * 64, "a\0b", "shard0", "fp32"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["path", "a", ""]), inner, max_size=3)
    ),
    max_leaves=5,
)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Bank:
    """A bank with two shards, a snapshot, an index, and a run that left one shard undone."""
    world = World()
    bank = world.fill(world.bank(str(tmp_path_factory.mktemp("hostile") / "bank")), failed=["d"]).bank
    build_index(bank, bank.require_snapshot(), RetrievalConfig())
    info = bank.write_documents("shard9", world.documents("xy"))
    shard = Shard("shard9", info.path, 2, 10, info.bytes, info.sha256)
    plan = Plan(
        RUN,
        (shard,),
        PlanCounts(),
        Estimate(0, 0, 0, 0.0, 0.0, ()),
        (),
        (),
        world.wanted(world.documents("abxy")),
    )
    save_plan(bank, plan, members_table("shard9", ["0" * 64, "1" * 64]), load_config())
    write_run_stats(bank, RUN, [{"shard_id": "s", "num_documents": 1, "error": "lost"}])
    return bank


@contextlib.contextmanager
def replaced(path: Path, data: bytes) -> Any:
    before = path.read_bytes()
    path.write_bytes(data)
    try:
        yield
    finally:
        path.write_bytes(before)


def attempt(read: Callable[[], object]) -> None:
    """Read. Anything but a value or an error that the user can mend fails the test."""
    with contextlib.suppress(PragError):
        read()


def mutated(drawn: st.DataObject, data: bytes) -> bytes:
    """Cut, extend, overwrite or replace bytes."""
    place = drawn.draw(st.integers(0, len(data)))
    some = drawn.draw(st.binary(max_size=8))
    return drawn.draw(
        st.sampled_from(
            [
                data[:place],
                data[:place] + some + data[place + len(some) :],
                data[:place] + some + data[place:],
                some,
            ]
        )
    )


def resealed(drawn: st.DataObject, data: bytes) -> bytes:
    """A sealed file with one value in it replaced or removed, sealed rightly as whoever hands the bank on can."""
    fields = dict(unseal(data, "file"))
    node: Any = fields
    while True:
        key = drawn.draw(st.sampled_from(sorted(node) if isinstance(node, dict) else range(len(node))))
        inner = node[key]
        if isinstance(inner, dict | list) and inner and drawn.draw(st.booleans()):
            node = inner
            continue
        if drawn.draw(st.booleans()):
            node[key] = drawn.draw(JSON)
        else:
            del node[key]
        return seal(fields)


def files(bank: Bank, pattern: str) -> list[Path]:
    found = sorted(path for path in Path(bank.root).glob(pattern) if path.is_file())
    assert found, pattern
    return found


def readers_of(bank: Bank, path: Path) -> list[Callable[[], object]]:
    """Whatever reads this file of a bank."""

    def through_snapshot() -> None:
        snapshot = Bank.open(bank.uri).require_snapshot()
        entries = list(snapshot.lookup([("a", 0), ("c", 0)]).values())
        read_usable(bank, [entry for entry in entries if entry.adapter_object])
        AdapterReader(bank, snapshot).fetch([("b", 0)])
        list(snapshot.documents())
        snapshot.augmentations([("a", 0), ("c", 0)])

    def index() -> None:
        again = Bank.open(bank.uri)
        open_index(again, again.require_snapshot(), RetrievalConfig()).search(["text of a"], 2)

    readers: dict[str, list[Callable[[], object]]] = {
        "bank.json": [lambda: Bank.open(bank.uri)],
        "init": [lambda: Bank.open(bank.uri).initial_factors()],
        "indexes": [index],
        "runs": [
            lambda: [bank.read_documents(shard.documents) for shard in load_unfinished(bank)[0]],
            lambda: read_run_stats(bank),
            lambda: bank.read_run(RUN, "config.yaml"),
        ],
    }
    whole: list[Callable[[], object]] = [
        through_snapshot,
        lambda: [bank.list_commits(stage) for stage in Stage],
        bank.committed_rows,
    ]
    return readers.get(path.relative_to(bank.root).parts[0], whole)


@quick
@given(data=st.data())
def test_any_bytes_in_any_file(bank: Bank, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(files(bank, "**/*")))
    with replaced(path, mutated(data, path.read_bytes())):
        for read in readers_of(bank, path):
            attempt(read)


@quick
@given(data=st.data())
@pytest.mark.parametrize("pattern", ["bank.json", "runs/*/*.json", "indexes/*/index.json"])
def test_any_fields_rightly_sealed(bank: Bank, pattern: str, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(files(bank, pattern)))
    with replaced(path, resealed(data, path.read_bytes())):
        for read in readers_of(bank, path):
            attempt(read)


@quick
@given(data=st.data())
def test_any_bytes_of_an_adapters_object_read_row_by_row(bank: Bank, data: st.DataObject) -> None:
    path = files(bank, "adapters/shard0-*")[0]
    with replaced(path, mutated(data, path.read_bytes())):
        attempt(lambda: list(read_adapter_rows(bank, f"adapters/{path.name}")))


@quick
@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_as_sealed_json(data: bytes) -> None:
    attempt(lambda: unseal(data, "file"))


@quick
@given(JSON | st.fixed_dictionaries(dict.fromkeys(("path", "rows", "bytes", "sha256"), JSON)))
def test_any_fields_of_an_object(fields: object) -> None:
    attempt(lambda: ObjectInfo.from_fields(fields, "file"))


@quick
@given(data=st.data())
def test_any_bytes_as_parquet(data: st.DataObject) -> None:
    whole = to_parquet(documents_table(World().documents("abc")))
    attempt(lambda: from_parquet(mutated(data, whole), "file"))


@quick
@given(st.data(), st.sampled_from(Tier))
def test_any_bytes_as_an_adapter(data: st.DataObject, tier: Tier) -> None:
    world = World()
    size = encoded_size(world.layout, tier)
    drawn = data.draw(st.binary(max_size=300) | st.binary(min_size=size, max_size=size))
    attempt(lambda: decode(drawn, world.layout, tier))
    attempt(lambda: decode(mutated(data, encode(world.factors(1), world.layout, tier)), world.layout, tier))


@quick
@given(JSON | st.fixed_dictionaries({"modules": st.lists(JSON, max_size=2), "rank": JSON, "alpha": JSON}))
def test_any_fields_of_a_layout(fields: Any) -> None:
    with contextlib.suppress(KeyError, TypeError, ValueError, OverflowError):
        layout = AdapterLayout.from_json(fields)
        assert layout.rank > 0 and math.isfinite(layout.scaling)


@quick
@given(data=st.data())
def test_any_bytes_as_a_warm_start(tmp_path: Path, data: st.DataObject) -> None:
    world, path = World(), tmp_path / "warm.safetensors"
    if not path.exists():
        write_warm_start(str(path), WarmStart(world.factors(1), world.layout, "model", {}, {}))
    with replaced(path, mutated(data, path.read_bytes())):
        attempt(lambda: read_warm_start(str(path)))


def test_a_huge_length_in_parquet_reserves_no_memory() -> None:
    """The length of the footer, which a reader believes first."""
    whole = to_parquet(documents_table(World().documents("abc")))
    for length in (2**31 - 1, 2**32 - 1, len(whole)):
        data = whole[:-8] + length.to_bytes(4, "little") + whole[-4:]
        before = pa.total_allocated_bytes()
        attempt(lambda data=data: from_parquet(data, "file"))  # type: ignore[misc]
        assert pa.total_allocated_bytes() - before < 1 << 24
