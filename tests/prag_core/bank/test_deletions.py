from __future__ import annotations

from pathlib import Path

import pytest

from prag_core.bank.deletions import Deletion, Deletions, catch_up, list_events, write_event
from prag_core.errors import CorruptBankError
from tests.prag_core.bank.world import Filled


def event(kind: str, *doc_ids: str, lifts: tuple[str, ...] = ()) -> dict[str, object]:
    return {
        "event": kind,
        "doc_ids": list(doc_ids),
        "lifts": list(lifts),
        "at": "2026-01-01T00:00:00.000+00:00",
    }


def test_events_mean_the_same_in_whatever_order_and_groups_they_are_learned() -> None:
    events = {
        "1": event("delete", "a", "b"),
        "2": event("delete", "a"),
        "3": event("restore", "a", lifts=("1",)),
        "4": event("erase", "b"),
    }
    whole = Deletions().after(events)
    assert whole.documents == {
        "a": Deletion("2026-01-01T00:00:00.000+00:00", ("2",)),
        "b": Deletion("2026-01-01T00:00:00.000+00:00", ("1",), erased=True),
    }
    for order in ("124", "142", "214"):  # a restore and an erase are written after what they are about
        known = Deletions()
        for name in order:
            known = known.after({name: events[name]})
        known = known.after({"3": events["3"]})
        assert known == whole and Deletions.of_manifest(known.to_manifest()) == whole


def test_a_restore_lifts_what_it_saw_and_not_a_deletion_beside_it() -> None:
    known = Deletions().after({"1": event("delete", "a")})
    both = known.after({"2": event("delete", "a"), "3": event("restore", "a", lifts=("1",))})
    assert both.documents["a"].events == ("2",)


def test_deletions_of_an_old_manifest_are_deletions_that_a_restore_can_lift() -> None:
    old = Deletions.of_manifest({"deleted": {"a": {"at": "2025-01-01T00:00:00+00:00", "rows": [[0, "h"]]}}})
    (name,) = old.documents["a"].events
    assert not old.after({"x": event("restore", "a", lifts=(name,))}).documents


def test_only_new_events_are_read_and_a_damaged_one_is_named(filled: Filled) -> None:
    write_event(filled.bank, "delete", ["a"])
    known = catch_up(filled.bank, Deletions())
    assert known.events == list_events(filled.bank).keys() and set(known.documents) == {"a"}
    (path,) = Path(filled.bank.path("deletions")).iterdir()
    path.write_bytes(path.read_bytes().replace(b'"a"', b'"b"'))
    assert catch_up(filled.bank, known) is known
    with pytest.raises(CorruptBankError, match=path.name):
        catch_up(filled.bank, Deletions())
