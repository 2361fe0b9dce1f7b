"""`prag train-router` on the miniature model, and the answers that its router then chooses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jobs import cli
from tests.jobs.conftest import write_questions

STRATEGIES = ["closed_book", "rag"]


@pytest.fixture(scope="module")
def settings(reading_settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("routers")
    train = write_questions(folder / "train.jsonl", "questions.train.jsonl", single=24, comparison=24)
    test = write_questions(folder / "test.jsonl", "questions.dev.jsonl", single=6, comparison=6)
    made = [
        *reading_settings,
        f"router.questions={train}",
        f"evaluate.questions={test}",
        f"methods.router={folder}/routers",
    ]
    return [*made, f"evaluate.out={folder}/out"]


def test_a_router_is_trained_measured_and_answers_as_the_strategies_it_chooses(
    settings: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["train-router", *settings, f"router.strategies=[{','.join(STRATEGIES)}]"]) == 0
    printed = capsys.readouterr().out
    path = Path(printed.strip().splitlines()[-1])
    written = json.loads(path.read_text())
    report = written["report"]
    assert written["strategies"] == STRATEGIES and path.name == "adaptive_rag.json"
    assert (
        sum(report["right"]) + sum(report["presumed"])
        == 48
        == report["num_training"] + report["num_held_out"]
    )
    assert [row["name"] for row in report["rows"]] == [*STRATEGIES, "the router", "labels"]
    assert report["rows"][-1]["f1"] >= max(
        row["f1"] for row in report["rows"][:-1]
    )  # the label is right wherever one is
    for title in ("Labels of 48 questions", "Cross-validation", "held-out questions", "What each costs"):
        assert title in printed

    methods = ["adaptive_rag", *STRATEGIES]
    assert cli.main(["evaluate", *settings, f"evaluate.methods=[{','.join(methods)}]"]) == 0
    out = path.parents[1] / "out"
    predictions = [json.loads(line) for line in (out / "predictions.jsonl").read_text().splitlines()]
    said = {(row["method"], row["question_id"]): row["text"] for row in predictions}
    routed = [row for row in predictions if row["method"] == "adaptive_rag"]
    assert [row["text"] for row in routed] == [said[row["route"], row["question_id"]] for row in routed]
    assert (
        sum(json.loads((out / "report.json").read_text())["methods"]["adaptive_rag"]["routes"].values()) == 12
    )

    capsys.readouterr()
    assert (
        cli.main(
            ["ask", "Whose work is The Haddale Orchard?", "--method", "adaptive_rag", "--json", *settings]
        )
        == 0
    )
    assert json.loads(capsys.readouterr().out)["route"] in STRATEGIES


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            ["--method", "rag"],
            "has no router to train; one of adaptive_rag, adaptive_rag+prag, adaptive_prag has",
        ),
        (["methods.router=null"], "methods.router is not set"),
        (["router.strategies=[rag]"], "at least two different methods"),
        (["router.strategies=[rag,adaptive_prag]"], "adaptive_prag cannot be one"),
        (["router.strategies=[rag,rag_gold]"], "rag_gold cannot be one"),
        (["router.strategies=[rag,dragin]", "engine.kind=vllm"], "set engine.kind=transformers"),
        (["router.limit=5"], "5 questions; give at least 20"),
        (["router.questions=${evaluate.questions}"], "is one of evaluate.questions"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_a_model_is_loaded(
    settings: list[str], wrong: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["train-router", *settings, "bank.uri=/nowhere", *wrong]) == 2
    assert message in capsys.readouterr().err
