"""Any row is a document whose fields can be stored, or an UnusableRow; never anything else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prag_core.corpus.documents import UnusableRow, to_document

NAMES = ["doc_id", "id", "_id", "text", "contents", "title", "metadata", "other"]
TEXT = st.text(st.characters(), max_size=8)  # lone surrogates and control characters included
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(NAMES), VALUES), TEXT, TEXT)
def test_a_row_is_a_document_that_can_be_stored_or_unusable(
    fields: dict[str, Any], doc_id: str, text: str
) -> None:
    for row in (fields, {**fields, "doc_id": doc_id, "text": text}):
        try:
            document = to_document(row)
        except UnusableRow as error:
            assert str(error)
            continue
        assert document.doc_id.strip() and document.text.strip()
        written = json.dumps([document.doc_id, document.text, document.title], ensure_ascii=False).encode()
        assert b"\0" not in written
        assert json.loads(json.dumps(document.metadata, allow_nan=False)) == document.metadata


def test_a_row_is_not_changed_and_its_unread_fields_are_metadata() -> None:
    row = {"id": 1, "text": "t", "contents": "c", "metadata": {"a": 1, "b": 2}, "b": 3}
    before = dict(row)
    document = to_document(row)
    assert row == before
    assert document.metadata == {"contents": "c", "a": 1, "b": 2}


def test_metadata_too_deep_to_write_is_unusable() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(UnusableRow, match="document 'a' cannot be used: metadata cannot be written"):
        to_document({"id": "a", "text": "t", "metadata": {"deep": deep}})
