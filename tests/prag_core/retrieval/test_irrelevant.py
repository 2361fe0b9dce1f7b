from collections import Counter

from prag_core.records import Document, Key, Passage, Question
from prag_core.retrieval.irrelevant import choose_irrelevant, group_by_kind

DOCUMENTS = [
    Document(f"{kind}{i}", "text", chunk=chunk, metadata={"kind": kind})
    for kind in ("person", "place", "work")
    for i in range(6)
    for chunk in (0, 1)
]
KINDS = group_by_kind(DOCUMENTS)
QUESTION = Question("q1", "?", ("x",), ("person1",))


def passages(*doc_ids: str) -> list[Passage]:
    return [Passage(doc_id, 0, "", "", 1.0) for doc_id in doc_ids]


def kinds_of(keys: list[Key]) -> list[str]:
    return [doc_id.rstrip("0123456789") for doc_id, _ in keys]


def test_they_are_of_the_retrieved_ones_kinds_in_their_order() -> None:
    chosen = choose_irrelevant(QUESTION, passages("work3", "person0", "work4"), KINDS, 3, seed=0)
    assert kinds_of(chosen) == ["work", "person", "work"]


def test_none_is_retrieved_or_gold_in_any_chunk_and_none_comes_twice() -> None:
    retrieved = passages("person0", "person2", "person3")
    for seed in range(50):
        doc_ids = [doc_id for doc_id, _ in choose_irrelevant(QUESTION, retrieved, KINDS, 2, seed)]
        assert sorted(doc_ids) == ["person4", "person5"]


def test_other_kinds_serve_where_a_kind_has_no_more() -> None:
    retrieved = passages("person0", "person2", "person3", "person4", "person5")
    chosen = choose_irrelevant(QUESTION, retrieved, KINDS, 3, seed=0)
    assert len({doc_id for doc_id, _ in chosen}) == 3
    assert "person" not in kinds_of(chosen)


def test_without_kinds_or_retrieved_documents_any_other_serves() -> None:
    plain = group_by_kind(Document(f"d{i}", "text") for i in range(5))
    question = Question("q", "?", ("x",), ("d0",))
    assert {doc_id for doc_id, _ in choose_irrelevant(question, passages("d1"), plain, 3, 0)} == {
        "d2",
        "d3",
        "d4",
    }
    assert len(choose_irrelevant(question, [], plain, 3, 0)) == 3


def test_a_corpus_with_too_few_others_gives_what_there_is() -> None:
    small = group_by_kind(Document(doc_id, "text") for doc_id in "ab")
    assert choose_irrelevant(QUESTION, passages("a"), small, 3, 0) == [("b", 0)]
    assert choose_irrelevant(QUESTION, passages("a", "b"), small, 3, 0) == []


def test_the_choice_is_fixed_by_question_and_seed_and_spreads_over_them() -> None:
    retrieved = passages("person0", "place0", "work0")
    again = group_by_kind(reversed(DOCUMENTS))
    for question_id in ("q1", "q2"):
        question = Question(question_id, "?", ("x",))
        assert choose_irrelevant(question, retrieved, KINDS, 3, 7) == choose_irrelevant(
            question, retrieved, again, 3, 7
        )
    drawn = Counter(
        key
        for i in range(300)
        for key in choose_irrelevant(Question(f"q{i}", "?", ("x",)), retrieved, KINDS, 3, 0)
    )
    assert len(drawn) == 30  # every chunk of the five other documents of each kind
    assert max(drawn.values()) < 3 * min(drawn.values())
