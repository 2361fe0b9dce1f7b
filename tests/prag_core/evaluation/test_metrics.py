import pytest

from prag_core.evaluation.metrics import Score, extract_answer, normalise, score


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Paris.", "Paris"),
        (" Paris, France. It is", "Paris"),
        ("Paris\nQuestion: and", "Paris"),
        ("\n Paris", "Paris"),
        ("St. Petersburg", "St"),
        ("12,000 men", "12"),
        (" . nothing", ""),
        ("", ""),
        ("the answer is Paris.", "the answer is Paris"),
    ],
)
def test_a_direct_answer_is_its_first_clause(text: str, answer: str) -> None:
    assert extract_answer(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("He was born in Rome. So the answer is Rome.", "Rome"),
        ("the answer is A. No, the answer is B.", "A"),
        ("The answer is Rome. the answer is\nParis, or", "Paris"),
        ("The answer is Rome.", "The answer is Rome"),
        ("It is Rome, I think", "It is Rome"),
    ],
)
def test_worked_reasoning_answers_after_the_first_marker_in_lower_case(text: str, answer: str) -> None:
    assert extract_answer(text, cot=True) == answer


def test_normalisation_is_that_of_squad() -> None:
    assert normalise("The  Quick, (brown) fox's\tAN a-z!") == "quick brown foxs az"
    assert normalise("Theatre another") == "theatre another"


# worked out on paper: common tokens / predicted tokens, common tokens / accepted tokens, their harmonic mean
@pytest.mark.parametrize(
    ("prediction", "gold", "expected"),
    [
        ("The Eiffel Tower", "eiffel tower", Score(1, 1, 1, 1)),
        ("tall Eiffel Tower", "Eiffel Tower", Score(0, 4 / 5, 2 / 3, 1)),
        ("Eiffel", "Eiffel Tower", Score(0, 2 / 3, 1, 1 / 2)),
        ("new york new york", "new york city", Score(0, 4 / 7, 2 / 4, 2 / 3)),
        ("London", "Eiffel Tower", Score(0, 0, 0, 0)),
        ("", "Eiffel Tower", Score(0, 0, 0, 0)),
        ("yes it is", "yes", Score(0, 0, 0, 0)),
        ("no", "no one", Score(0, 0, 0, 0)),
        ("no", "yes", Score(0, 0, 0, 0)),
        ("Yes", "yes", Score(1, 1, 1, 1)),
        ("the", "a", Score(1, 1, 1, 1)),
    ],
)
def test_one_accepted_answer(prediction: str, gold: str, expected: Score) -> None:
    found = score(prediction, [gold])
    for name in ("em", "f1", "precision", "recall"):
        assert getattr(found, name) == pytest.approx(getattr(expected, name))


def test_each_measure_is_the_best_over_the_accepted_answers() -> None:
    found = score("Eiffel Tower", ["Eiffel", "the tall Eiffel Tower of Paris", "London"])
    assert found.recall == 1.0  # against the first
    assert found.precision == 1.0  # against the second
    assert found.f1 == pytest.approx(2 * (1 / 2) * 1 / (1 / 2 + 1))
    assert found.em == 0.0


def test_accepted_answers_are_not_cut() -> None:
    assert score("12", ["12,000 men"]).em == 0.0
    assert score("Washington DC", ["Washington, D.C."]).em == 1.0
