from prag_core.evaluation.asked import find_asked
from prag_core.records import Augmentation, QAPair, Question


def augmentation(doc_id: str, *answers: str, chunk: int = 0) -> Augmentation:
    return Augmentation(
        doc_id, chunk, "hash", (), tuple(QAPair("?", answer, answer) for answer in answers), "model"
    )


def question(question_id: str, answers: tuple[str, ...], *gold: str) -> Question:
    return Question(question_id, "?", answers, gold)


def test_a_fact_was_asked_when_a_pair_of_its_document_has_an_accepted_answer() -> None:
    questions = [
        question("same", ("1912",), "a"),
        question("alias, other case", ("Ada Lovelace", "Lovelace"), "a"),
        question("in another chunk", ("pears",), "a"),
        question("only in another document", ("Rome",), "a"),
        question("part of an answer", ("Ada",), "a"),
        question("of that other document", ("Rome",), "b"),
    ]
    written = [
        augmentation("a", "1912", "the lovelace."),
        augmentation("b", "Rome"),
        augmentation("a", "pears", chunk=1),
    ]
    assert find_asked(questions, iter(written)) == {
        "same": True,
        "alias, other case": True,
        "in another chunk": True,
        "only in another document": False,
        "part of an answer": False,
        "of that other document": True,
    }


def test_questions_over_several_documents_or_none_or_unaugmented_ones_are_left_out() -> None:
    questions = [
        question("two", ("x",), "a", "b"),
        question("none", ("x",)),
        question("unknown", ("x",), "c"),
    ]
    assert find_asked(questions, [augmentation("a", "x"), augmentation("b", "x")]) == {}
