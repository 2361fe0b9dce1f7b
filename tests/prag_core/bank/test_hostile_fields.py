"""Any JSON in the place of any field of a bank's sealed files, sealed rightly as whoever hands the bank on can: whatever works on
the bank gives a value or an error that names a file of it."""

from __future__ import annotations

import hashlib
import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prag_core.bank import AdapterReader, Bank, Stage
from prag_core.bank.condemned import condemn
from prag_core.bank.delete import delete_documents, restore_documents
from prag_core.bank.deletions import write_event
from prag_core.bank.gc.collect import gc
from prag_core.bank.repair import repair
from prag_core.bank.sealed import seal, unseal
from prag_core.bank.verify import verify
from prag_core.errors import CorruptBankError, PragError
from tests.prag_core.bank.test_hostile_bytes import files, quick, resealed
from tests.prag_core.bank.world import World

SEALED = (
    "commits/*/*.json",
    "snapshots/*/manifest.json",
    "snapshots/*/published.json",
    "published/*.json",
    "deletions/*.json",
    "condemned/*.json",
)
MEMORY = 1 << 26


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Bank:
    """A bank with several snapshots, deletions of each kind, commits of two generations, and a gc that was killed."""
    world = World()
    bank = world.fill(world.bank(str(tmp_path_factory.mktemp("fields") / "bank")), failed=["d"]).bank
    delete_documents(bank, ["a"])
    gc(bank, timedelta(0), dry_run=False, force=True)
    delete_documents(bank, ["b"])
    restore_documents(bank, ["b"])
    delete_documents(bank, ["c"])
    write_event(bank, "delete", ["d"])
    condemn(bank, ["documents/shard0-0123456789abcdef.parquet"])
    return bank


@pytest.fixture
def copy(template: Bank, tmp_path: Path) -> Callable[[], Bank]:
    """Makes copies of the bank, each in the place of the one before."""

    def make() -> Bank:
        shutil.rmtree(tmp_path / "bank", ignore_errors=True)
        shutil.copytree(template.root, tmp_path / "bank")
        return Bank.open(str(tmp_path / "bank"))

    return make


def places_in(node: Any) -> Iterator[tuple[Any, Any]]:
    """Every list or object in sealed fields, with each index or key in it."""
    for key in node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
        yield node, key
        yield from places_in(node[key])


def write_resealed(bank: Bank, path: Path, data: bytes) -> None:
    """Write a sealed file. A manifest gets the name that its bytes have, and claims of it."""
    path.write_bytes(data)
    if path.name == "manifest.json":
        number, root = path.parent.name.split("-")[0], Path(bank.root)
        name = f"{number}-{hashlib.sha256(data).hexdigest()[:16]}"
        claim = seal({"number": int(number), "name": name})
        (root / f"published/{number}.json").write_bytes(claim)
        path.with_name("published.json").write_bytes(claim)
        path.parent.rename(path.parent.with_name(name))


def works_on(bank: Bank) -> list[Callable[[], object]]:
    """Whatever reads or changes a bank."""
    world = World()

    def read() -> None:
        snapshot = bank.require_snapshot()
        AdapterReader(bank, snapshot).fetch([("b", 0), ("c", 0)])
        list(snapshot.documents())
        snapshot.augmentations([("a", 0), ("c", 0)])
        assert all(isinstance(count, int) for count in snapshot.counts.values())

    return [
        read,
        bank.snapshots,
        bank.committed_rows,
        *(lambda stage=stage: bank.list_commits(stage) for stage in Stage),  # type: ignore[misc]
        lambda: verify(bank),
        lambda: delete_documents(bank, ["b"]),
        lambda: restore_documents(bank, ["c"]),
        lambda: bank.write_snapshot(world.wanted(world.documents("abcd"))),
        lambda: gc(bank, timedelta(0), dry_run=True, force=True),
        lambda: repair(bank, dry_run=False),
    ]


def attempt(bank: Bank, work: Callable[[], object]) -> None:
    """Work. Anything but a value or an error that names a file of the bank fails the test."""
    try:
        work()
    except PragError as error:
        assert bank.root in str(error), error


@settings(quick, max_examples=12)
@given(data=st.data())
@pytest.mark.parametrize("pattern", SEALED)
def test_any_fields_rightly_sealed(copy: Callable[[], Bank], pattern: str, data: st.DataObject) -> None:
    bank = copy()
    path = data.draw(st.sampled_from(files(bank, pattern)))
    write_resealed(bank, path, resealed(data, path.read_bytes()))
    for work in works_on(bank):
        attempt(bank, work)


ODD: list[tuple[str, dict[str, Any]]] = [
    ("snapshots/*/manifest.json", {"number": "6"}),
    ("snapshots/*/manifest.json", {"number": [6]}),
    ("snapshots/*/manifest.json", {"events": [1]}),
    ("snapshots/*/manifest.json", {"deleted": {"a": {"at": 5, "events": ["0" * 16]}}}),
    ("snapshots/*/manifest.json", {"deleted": {"a": {"at": "2026-01-01T00:00:00", "events": ["0" * 16]}}}),
    ("snapshots/*/manifest.json", {"parts": [{"first": "", "counts": [1]}]}),
    ("deletions/*.json", {"at": None}),
    ("deletions/*.json", {"at": "yesterday"}),
    ("condemned/*.json", {"files": "documents"}),
]


@pytest.mark.parametrize(("pattern", "odd"), ODD)
def test_a_field_of_an_odd_type_is_damage_of_its_file(
    copy: Callable[[], Bank], pattern: str, odd: dict[str, Any]
) -> None:
    bank = copy()
    for path in files(bank, pattern)[-1:] if "manifest" in pattern else files(bank, pattern):
        write_resealed(bank, path, seal(unseal(path.read_bytes(), "file") | odd))
    world = World()
    for work in (lambda: gc(bank), lambda: bank.write_snapshot(world.wanted(world.documents("ab")))):
        with pytest.raises(CorruptBankError) as damage:
            work()
        assert any(str(path) in str(damage.value) for path in files(bank, pattern))
    assert any(problem.severity == "error" for problem in verify(bank))


@pytest.mark.parametrize("pattern", SEALED)
def test_huge_numbers_rightly_sealed_take_no_memory(copy: Callable[[], Bank], pattern: str) -> None:
    for number in range(len(files(copy(), pattern))):
        bank = copy()
        path = files(bank, pattern)[number]
        fields = dict(unseal(path.read_bytes(), "file"))
        for node, key in places_in(fields):
            if type(node[key]) is int:
                node[key] = (1 << 40) - 1
        write_resealed(bank, path, seal(fields))
        tracemalloc.start()
        for work in works_on(bank):
            attempt(bank, work)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < MEMORY, path
