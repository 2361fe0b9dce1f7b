import json
from collections.abc import Callable

import numpy as np
import pytest

from prag_core.config.load import load_config
from prag_core.evaluation.report import Answered, Origin, Report, build_report
from prag_core.evaluation.statistics import mean_interval, paired_p_value
from prag_core.records import Answer, Question, Round

Make = Callable[..., Report]
RAG_F1 = [
    1.0,
    2 / 3,
    1.0,
    1.0,
]  # "Ada Byron" shares one token of two with "Ada Lovelace", its only one with "Ada"
PRAG_F1 = [1.0, 1.0, 0.0, 1.0]


def test_means_are_over_all_questions_and_times_are_a_question(make_report: Make) -> None:
    rag = make_report().methods["rag"]
    assert (rag.em, rag.f1) == pytest.approx((3 / 4, np.mean(RAG_F1)))
    assert (rag.precision, rag.recall) == pytest.approx(((1 + 1 / 2 + 1 + 1) / 4, 1.0))
    assert rag.timings_ms == {"retrieve": 1.0, "generate": 1.5}
    assert rag.ms_per_question == 2.5
    assert rag.num_questions == 4
    assert rag.f1_ci == mean_interval(RAG_F1, num_resamples=200, seed=0)
    assert make_report().methods["closed_book"].em_ci == (0.0, 0.0)


def test_groups_are_the_questions_of_a_type_and_those_asked_or_not(make_report: Make) -> None:
    prag = make_report().methods["prag"]
    assert {name: (group.f1, group.num_questions) for name, group in prag.by_type.items()} == {
        "single": (1.0, 2),
        "bridge": (0.0, 1),
        "comparison": (1.0, 1),
    }
    rag = make_report().methods["rag"]
    assert {name: (group.em, group.num_questions) for name, group in rag.by_asked.items()} == {
        "asked": (1.0, 1),
        "unasked": (0.0, 1),
    }


def test_asked_comes_before_unasked_whichever_is_met_first() -> None:
    questions = [Question(name, "?", ("x",), ("d",)) for name in ("a", "b")]
    report = build_report(
        questions, {"rag": Answered([Answer("x")] * 2)}, load_config(), asked={"a": False, "b": True}
    )
    assert list(report.methods["rag"].by_asked) == ["asked", "unasked"]


def test_the_pairs_are_compared_over_the_same_questions(make_report: Make) -> None:
    pairs = [("closed_book", "rag"), ("prag", "rag"), ("closed_book", "prag")]
    comparisons = make_report(pairs=pairs).comparisons
    assert [(c.method, c.baseline) for c in comparisons] == pairs
    prag_rag = comparisons[1]
    assert prag_rag.f1_difference == pytest.approx(np.mean(PRAG_F1) - np.mean(RAG_F1))
    assert prag_rag.p == paired_p_value(PRAG_F1, RAG_F1, num_resamples=200, seed=0)
    assert all(c.p <= c.p_holm <= 1 for c in comparisons)


def test_without_pairs_nothing_is_compared(make_report: Make) -> None:
    assert make_report().comparisons == []


def test_retrieval_is_scored_against_the_gold_documents(make_report: Make) -> None:
    retrieval = make_report().retrieval
    assert retrieval["recall@3"] == retrieval["mrr@10"] == 0.25
    config = load_config(["retrieval.top_k=5", "evaluate.num_resamples=200"])
    assert "recall@5" in make_report(config).retrieval


def test_reasoned_answers_are_read_after_their_marker(make_report: Make) -> None:
    texts = {"rag": [f"Because. So the answer is {word}." for word in ("Rome", "Ada", "1912", "yes")]}
    assert make_report(texts=texts, cot={"rag": True}).methods["rag"].em == 1.0
    assert make_report(texts=texts).methods["rag"].em == 0.0


def test_the_json_is_plain_and_complete_and_the_same_every_time(make_report: Make) -> None:
    report = make_report()
    text = json.dumps(report.to_json(), allow_nan=False)
    assert text == json.dumps(make_report().to_json(), allow_nan=False)
    fields = json.loads(text)
    assert set(fields) == {"methods", "comparisons", "retrieval", "config", "versions", "num_questions"}
    assert {
        "em",
        "f1",
        "precision",
        "recall",
        "em_ci",
        "f1_ci",
        "ms_per_question",
        "timings_ms",
        "by_type",
        "by_asked",
        "num_questions",
    } <= set(fields["methods"]["prag"])
    assert fields["config"]["evaluate"]["num_resamples"] == 200
    assert {"python", "torch", "bm25s"} <= set(fields["versions"])


def test_predictions_say_what_was_answered_retrieved_and_merged(make_report: Make) -> None:
    rows = [json.loads(json.dumps(prediction.to_json())) for prediction in make_report().predictions]
    assert len(rows) == 12
    row = next(row for row in rows if (row["method"], row["question_id"]) == ("rag", "q2"))
    assert (row["text"], row["prediction"], row["asked"]) == ("Ada Byron, of course", "Ada Byron", False)
    assert row["f1"] == pytest.approx(2 / 3)
    assert row["passages"][0] == {"doc_id": "d1", "chunk": 0, "score": 2.0}
    assert row["adapters"] == [["d1", 0]]


def test_a_degraded_answer_is_counted() -> None:
    question = Question("q", "?", ("x",))
    answers = {"prag": Answered([Answer("x", degraded=((("d", 0), "corrupt"),))])}
    result = build_report([question], answers, load_config()).methods["prag"]
    assert (result.num_degraded, result.by_type, result.by_asked, result.f1_ci) == (1, {}, {}, (1.0, 1.0))


def test_a_missing_answer_is_an_error() -> None:
    with pytest.raises(ValueError, match="shorter"):
        build_report([Question("q", "?", ("x",))], {"rag": Answered([])}, load_config())


def test_retrievals_and_generated_tokens_are_means_over_questions() -> None:
    questions = [Question(name, "?", ("x",), ("d",)) for name in ("a", "b")]
    answers = [
        Answer("x", rounds=(Round("one", ()), Round("two", ())), num_tokens=30),
        Answer("x", num_tokens=3),
    ]
    result = build_report(questions, {"flare": Answered(answers)}, load_config(), asked={}).methods["flare"]
    assert (result.retrievals, result.tokens) == (1.0, 16.5)


def origin(row: str, *, cot: bool = False, quarantined: int = 0, seconds: float | None = None) -> Origin:
    return Origin(
        row=row,
        settings={"training.epochs": 2},
        cot=cot,
        bank="out/bank",
        snapshot="1-a",
        adapters=9,
        quarantined=quarantined,
        seconds_per_document=seconds,
    )


def test_only_the_pairs_asked_for_are_compared(make_report: Make) -> None:
    comparisons = make_report(pairs=[("prag", "closed_book")]).comparisons
    assert [(c.method, c.baseline) for c in comparisons] == [("prag", "closed_book")]


def test_a_report_on_several_configurations_says_where_each_methods_answers_come_from(
    make_report: Make,
) -> None:
    texts = {"prag@a": ["The answer is Rome."] * 4, "prag@b": ["So the answer is Rome."] * 4}
    report = make_report(
        texts=texts,
        title="Ours",
        origins={"prag@a": origin("a"), "prag@b": origin("b", cot=True)},
        cot={"prag@b": True},
    )
    assert (report.methods["prag@a"].em, report.methods["prag@b"].em) == (0.0, 0.25), (
        "each is read as its own bank words answers"
    )
    fields = report.to_json()
    assert fields["title"] == "Ours" and fields["origins"]["prag@b"]["settings"] == {"training.epochs": 2}
    assert "origins" not in make_report().to_json()
