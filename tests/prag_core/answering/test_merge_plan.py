"""Which documents are merged, what is said of the others, what is shown, and what the merged adapter is called."""

from __future__ import annotations

import numpy as np
import pytest

from prag_core.answering.merge_plan import NOT_IN_BANK, UNREADABLE, MergePlan, plan_merge
from prag_core.config.schema import MergeConfig
from prag_core.merging import RULES
from prag_core.models.lora import AdapterLayout, ModuleShape
from prag_core.records import Factors, Passage
from tests.prag_core.answering.stand_ins import make_entry, make_factors

LAYOUT = AdapterLayout((ModuleShape("m", 3, 4),), rank=2, alpha=32.0)
ENTRIES = [
    make_entry("known"),
    make_entry("forgotten", status="text_only", stage="acceptance", reason="its adapter answered 0%"),
    make_entry("broken", status="failed", stage="augment", reason="no JSON"),
    make_entry("damaged"),
]
NAMES = ("damaged", "broken", "forgotten", "unheard of", "known")
PASSAGES = [Passage(name, 0, name, f"text of {name}", float(9 - i)) for i, name in enumerate(NAMES)]


@pytest.fixture
def plan() -> MergePlan:
    planned = plan_merge(PASSAGES, {entry.key: entry for entry in ENTRIES}, "recipe")
    assert planned.keys == (("damaged", 0), ("known", 0)), "whether an adapter can be read shows later"
    return planned.without({("damaged", 0): UNREADABLE})


def test_every_document_that_is_left_out_has_its_reason_in_the_order_of_retrieval(plan: MergePlan) -> None:
    assert plan.keys == (("known", 0),) and plan.entries == [ENTRIES[0]]
    assert plan.degraded == (
        (("damaged", 0), UNREADABLE),
        (("broken", 0), "quarantined at augment: no JSON"),
        (("forgotten", 0), "text_only: its adapter answered 0%"),
        (("unheard of", 0), NOT_IN_BANK),
    )


def test_what_is_left_out_is_shown_and_with_text_everything_is(plan: MergePlan) -> None:
    assert plan.shown(PASSAGES, text=False) == PASSAGES[:4]
    assert plan.shown(PASSAGES, text=True) == PASSAGES


def test_where_nothing_is_wanted_nothing_is_merged_or_left_out() -> None:
    plan = plan_merge([], {entry.key: entry for entry in ENTRIES}, "recipe")
    assert (plan.keys, plan.degraded, plan.shown(PASSAGES, text=False)) == ((), (), [])
    assert plan.name(MergeConfig(), None) is None and plan.merge({}, LAYOUT, MergeConfig(), None) is None


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("warm", [False, True])
def test_the_name_is_known_before_anything_is_read(rule: str, warm: bool) -> None:
    entries = {entry.key: entry for entry in map(make_entry, NAMES)}
    plan = plan_merge(PASSAGES, entries, "recipe")
    factors = {key: make_factors(i) for i, key in enumerate(entries)}
    ones = Factors(np.ones((2, 3), np.float32), np.ones((4, 2), np.float32))
    start = ("the start", {"m": ones}) if warm else None
    settings = MergeConfig(rule=rule)
    merged = plan.merge(factors, LAYOUT, settings, start)
    assert merged is not None and merged.name == plan.name(settings, start)
