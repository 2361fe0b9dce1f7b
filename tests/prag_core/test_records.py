"""Records are values: equal by content, frozen, known by (doc_id, chunk), and picklable."""

import dataclasses
import pickle

import pytest

from prag_core import records
from prag_core.records import Adapter, Answer, Augmentation, Document, Failure, Passage, QAPair

KEYED = [
    Document("a", "text", chunk=2),
    Augmentation("a", 2, "h", ("r",), (QAPair("q", "a", "f"),), "g"),
    Adapter("a", 2, "h", {}, steps=1, tokens=1, loss_first=1.0, loss_last=0.5),
    Failure("a", 2, "h", "augment", "bad", 1),
    Passage("a", 2, "t", "text", 1.0),
]


@pytest.mark.parametrize("record", KEYED, ids=lambda record: type(record).__name__)
def test_a_record_of_a_document_knows_its_key_and_survives_pickling(record: Document) -> None:
    assert record.key == ("a", 2)
    assert pickle.loads(pickle.dumps(record)) == record


@pytest.mark.parametrize("record", KEYED, ids=lambda record: type(record).__name__)
def test_a_record_cannot_be_changed(record: Document) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.doc_id = "b"  # type: ignore[misc]


def test_every_record_is_frozen() -> None:
    kinds = [
        kind
        for kind in vars(records).values()
        if dataclasses.is_dataclass(kind) and kind.__module__ == records.__name__
    ]
    assert len(kinds) >= 8
    assert all(getattr(kind, "__dataclass_params__").frozen for kind in kinds)  # noqa: B009  (typeshed lacks it)


def test_records_with_many_fields_are_built_with_keywords() -> None:
    for kind, positional in ((Adapter, 4), (Answer, 1)):
        fields = dataclasses.fields(kind)
        assert [field.kw_only for field in fields] == [n >= positional for n in range(len(fields))]
