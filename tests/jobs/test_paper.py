"""One command takes a published table from its question set's file to figures beside the published ones."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from jobs import cli
from prag_core.bank import Bank
from prag_core.config.load import CONF
from prag_core.config.schema import CorpusConfig, CorpusFormat, RetrievalConfig
from prag_core.corpus.reader import read_corpus
from prag_core.retrieval import LexicalIndex

ROOT = Path(__file__).resolve().parents[2]
MINI = ROOT / "examples/mini"
TABLE = {
    "title": "Table 0: a test",
    "columns": {"hotpotqa": ["Bridge", "Total"]},
    "rows": [
        {"label": "Standard RAG", "method": "rag"},
        {"label": "P-RAG", "method": "prag"},
        {"label": "its seconds", "method": "prag", "measure": "seconds"},
    ],
    "published": {"llama-3.2-1b": {"Standard RAG": [0.2110, 0.2671], "P-RAG": [0.1602, 0.1999]}},
}


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command's arguments: a table of two columns, over four questions of the miniature world in HotpotQA's own format,
    whose paragraphs are the corpus; few tokens and small engines."""
    folder = tmp_path_factory.mktemp("paper")
    documents = {d["doc_id"]: d for d in map(json.loads, (MINI / "corpus.jsonl").read_text().splitlines())}
    single = [
        q
        for q in map(json.loads, (MINI / "questions.dev.jsonl").read_text().splitlines())
        if q["type"] == "single"
    ]
    records = [
        {
            "_id": q["question_id"],
            "type": "bridge" if number < 2 else "comparison",
            "question": q["question"],
            "answer": q["answers"][0],
            "supporting_facts": [[documents[q["gold_doc_ids"][0]]["title"], 0]],
            "context": [
                [d["title"], [d["text"]]]
                for d in (documents[asked["gold_doc_ids"][0]] for asked in (q, other))
            ],
        }
        for number, (q, other) in enumerate(zip(single[:4], single[20:24], strict=True))
    ]
    questions = folder / "data/hotpotqa/hotpot_dev_distractor_v1.json"
    questions.parent.mkdir(parents=True)
    questions.write_text(json.dumps(records))
    (folder / "mine.yaml").write_text(yaml.safe_dump(TABLE))
    return [
        "paper",
        f"{folder}/mine.yaml",
        "--model",
        "llama-3.2-1b",
        f"paper.data={folder}/data",
        f"paper.out={folder}/out",
        f"corpus.uri={questions}",
        "corpus.format=hotpotqa",
        f"model.path={MINI}/model",
        "engine.kind=transformers",
        "augmentation.engine=transformers",
        "augmentation.max_new_tokens=160",
        "engine.max_new_tokens=20",
        "retrieval.top_k=1",
        "augmentation.max_attempts=2",
        "evaluate.limit=3",
        "evaluate.num_resamples=100",
    ]


@pytest.fixture(scope="module")
def out(settings: Sequence[str]) -> Path:
    return Path(next(item for item in settings if item.startswith("paper.out=")).partition("=")[2])


def test_a_table_is_made_from_published_files_and_stands_beside_published_figures(
    settings: list[str], out: Path
) -> None:
    """In a process of its own, which starts Ray."""
    done = subprocess.run(
        [sys.executable, "-m", "jobs.cli", *settings], cwd=ROOT, capture_output=True, text=True, timeout=400
    )
    assert done.returncode == 0, done.stderr[-3000:]
    printed = done.stdout
    assert "HotpotQA: Table 0: a test" in printed and "Bridge (2)" in printed and "Total (3)" in printed
    assert re.search(r"Standard RAG +[\d.]+ \(21\.1\) +[\d.]+ \(26\.7\)", printed)
    cells = {
        (cell["row"], cell["type"]): cell for cell in json.loads((out / "mine.json").read_text())["cells"]
    }
    assert set(cells) == {(row["label"], column) for row in TABLE["rows"] for column in ("Bridge", "Total")}  # type: ignore[index]
    assert (
        cells["P-RAG", "Total"]["published"] == 0.1999 and cells["its seconds", "Total"]["published"] is None
    )
    assert 0 <= cells["P-RAG", "Bridge"]["measured"] <= 1 and cells["its seconds", "Total"]["measured"] > 0
    assert "P-RAG" in (out / "mine.md").read_text()
    report = json.loads((out / "mine/mine-llama-3.2-1b-hotpotqa-total/report.json").read_text())
    assert report["num_questions"] == 3 and report["config"]["prompt"]["cot"] is True


def test_the_bank_holds_what_the_questions_retrieve_and_was_trained_on_worked_examples(out: Path) -> None:
    (corpus,) = (out / "corpora").glob("hotpotqa-*.jsonl")
    (folder,) = (path for path in (out / "banks").iterdir() if (path / "bank.json").exists())
    snapshot = Bank.open(str(folder)).latest_snapshot()
    assert snapshot is not None
    narrowed = {json.loads(line)["doc_id"] for line in corpus.read_text().splitlines()}
    assert 2 <= len(narrowed) <= 4 and {document.doc_id for document in snapshot.documents()} == narrowed
    assert snapshot.counts["adapter"] >= 1
    prompt = snapshot.store.recipe.fields["prompt"]
    assert prompt["cot"] is True and prompt["fewshot"]


def test_every_question_was_answered_from_what_it_retrieves_from_the_whole_corpus(
    settings: list[str], out: Path
) -> None:
    uri = next(item for item in settings if item.startswith("corpus.uri=")).partition("=")[2]
    retrieval = RetrievalConfig(top_k=1, stopwords="english")
    whole = LexicalIndex.build(read_corpus(CorpusConfig(uri=uri, format=CorpusFormat.hotpotqa)), retrieval)
    lines = (out / "mine/mine-llama-3.2-1b-hotpotqa-total/predictions.jsonl").read_text().splitlines()
    for row in map(json.loads, lines):
        (found,) = whole.search([row["question"]], 1)
        assert [passage["doc_id"] for passage in row["passages"]] == [passage.doc_id for passage in found]


def test_the_same_command_again_makes_nothing(
    settings: list[str], out: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (out / "mine.json").read_text()
    monkeypatch.setattr("jobs.tables.make_bank", None)
    monkeypatch.setattr("prag_core.experiments.answering.make_engine", None)
    assert cli.main(settings) == 0
    assert (out / "mine.json").read_text() == before
    capsys.readouterr()
    assert cli.main([*settings, "--dry-run", "training.epochs=3"]) == 0
    assert re.search(r"documents, [\d.e-]+ GPU hours", capsys.readouterr().out)


def test_a_question_is_asked_of_the_bank_with_the_same_worked_examples(
    settings: list[str], out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder,) = (path for path in (out / "banks").iterdir() if (path / "bank.json").exists())
    same = [item for item in settings if item.startswith(("model.path", "engine.", "retrieval."))]
    ask = ["ask", "Who is it?", "--json", f"bank.uri={folder}", "retrieval.stopwords=english", *same]
    assert cli.main(ask) == 2
    assert "not the worked examples" in capsys.readouterr().err
    assert cli.main([*ask, "--config", str(CONF / "prompt/hotpotqa.yaml")]) == 0
    assert "text" in json.loads(capsys.readouterr().out)


def test_what_is_missing_is_said_before_anything_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["paper", "main", f"paper.data={tmp_path}", f"paper.out={tmp_path}/out"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("error: 5 files are not there") and f"{tmp_path}/popqa/popQA.tsv" in message
    assert not (tmp_path / "out").exists()
