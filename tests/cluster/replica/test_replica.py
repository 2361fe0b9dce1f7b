"""Which documents are merged, and what is said of the others."""

from __future__ import annotations

from typing import Any

from cluster.replica.replica import make_plan
from prag_core.bank import Entry


def entry(doc_id: str, **fields: Any) -> Entry:
    place = dict.fromkeys(
        ("documents_object", "augmentations_object", "adapter_object", "start", "length", "sha256", "tier")
    )
    unknown = {"stage": None, "reason": None, "attempts": None}
    return Entry(
        **{
            "doc_id": doc_id,
            "chunk": 0,
            "content_hash": "h",
            "status": "adapter",
            **place,
            **unknown,
            **fields,
        }
    )


def test_a_text_only_document_goes_in_as_text_and_the_reason_says_so() -> None:
    entries = [
        entry("known"),
        entry(
            "forgotten",
            status="text_only",
            stage="acceptance",
            reason="its adapter answered 0%",
            adapter_object="a",
            score=0.0,
        ),
        entry("broken", status="failed", stage="augment", reason="no JSON"),
    ]
    keys = [(name, 0) for name in ("broken", "forgotten", "unheard of", "known")]
    plan = make_plan(keys, {found.key: found for found in entries})
    assert plan.entries == (entries[0],)
    assert plan.degraded == {
        ("broken", 0): "quarantined at augment: no JSON",
        ("forgotten", 0): "text_only: its adapter answered 0%",
        ("unheard of", 0): "it has no adapter",
    }
