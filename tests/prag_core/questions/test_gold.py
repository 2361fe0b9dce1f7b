"""Gold documents that are not there are counted and named."""

from prag_core.questions.gold import gold_note, missing_gold
from prag_core.records import Question


def question(name: str, *gold: str) -> Question:
    return Question(name, "?", ("x",), gold)


def test_gold_documents_that_are_not_there_are_named_in_order_and_once() -> None:
    questions = [question("q1", "a", "b"), question("q2", "c", "a"), question("q3")]
    assert missing_gold(questions, {"b"}) == ["a", "c"]
    assert missing_gold(questions, {"a", "b", "c", "d"}) == []


def test_the_note_has_the_counts_and_names_the_first() -> None:
    questions = [question(f"q{n}", f"d{n}") for n in range(8)]
    note = gold_note(questions, {"d0"}, "out/bank")
    assert note is not None
    assert note.startswith("out/bank does not have 7 of the 8 gold documents (7 of 8 questions): d1, d2, ")
    assert "d5, …" in note and "d6" not in note
    assert gold_note(questions, {f"d{n}" for n in range(8)}, "out/bank") is None
