"""An evaluation that cannot be run says so before anything is loaded; one that can is in tests/test_line.py."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from prag_core.bank import Bank, Stage
from prag_core.config.load import load_config
from prag_core.errors import ConfigError
from prag_core.experiments.evaluate import evaluate, evaluation_table
from prag_core.identity import content_hash
from prag_core.planning.recipe import prepare_recipe
from prag_core.records import Document, Failure
from prag_core.retrieval import build_index


@pytest.mark.parametrize(
    ("methods", "complaint"),
    [
        ("[]", "name at least one"),
        ("[rag,pragg]", "not pragg; did you mean prag"),
        ("[prag@other]", r"prag@other needs evaluate\.banks\.other, which is not set"),
        ("[dragin]", "engine.kind=transformers"),
    ],
)
def test_methods_that_cannot_run_are_refused_before_bank_and_model_are_looked_for(
    methods: str, complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        evaluate(load_config([f"evaluate.methods={methods}", "bank.uri=nowhere", "model.path=nowhere"]))


def test_gold_documents_that_the_bank_does_not_have_are_said_once_with_their_count(tmp_path: Path) -> None:
    questions = [
        {"question_id": name, "question": "Who?", "answers": ["x"], "gold_doc_ids": gold}
        for name, gold in (("q1", ["there", "absent"]), ("q2", ["absent"]), ("q3", []))
    ]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, questions)))
    config = load_config(
        [
            f"bank.uri={tmp_path}/bank",
            f"evaluate.questions={tmp_path}/q.jsonl",
            "evaluate.methods=[closed_book,rag_gold]",
            "engine.kind=transformers",
            "engine.max_new_tokens=2",
            "evaluate.num_resamples=10",
        ]
    )
    prepared = prepare_recipe(config)
    bank = Bank.create(config.bank.uri, prepared.recipe, prepared.layout, prepared.initial)
    document = Document("there", "a text")
    row = {"doc_id": "there", "chunk": 0, "content_hash": content_hash(document)}
    with bank.begin(Stage.adapters, "shard") as writer:
        content = content_hash(document)
        writer.add(Failure(*document.key, content, stage="augment", reason="a test", attempts=1))
        writer.commit([bank.write_documents("shard", [document])])
    build_index(bank, bank.write_snapshot(pa.Table.from_pylist([row])), config.retrieval)
    notes: list[str] = []
    evaluate(config, warn=notes.append)
    (note,) = notes
    assert note.startswith(f"{bank.uri} does not have 1 of the 2 gold documents (2 of 3 questions): absent;")


def test_a_label_runs_a_method_on_the_bank_of_that_name_and_the_order_is_the_users() -> None:
    settings = ["evaluate.methods=[prag,rag,prag@other,rag]", "evaluate.banks.other=/o", "bank.uri=/b"]
    table = evaluation_table(load_config([*settings, "evaluate.baselines=[rag,combine]"]))
    assert [(run.name, run.method, run.config.bank.uri) for run in table.runs] == [
        ("prag", "prag", "/b"),
        ("rag", "rag", "/b"),
        ("prag@other", "prag", "/o"),
    ]
    assert table.runs[2].row.settings == {"bank.uri": "/o"}
    assert table.pairs == (("prag", "rag"), ("prag@other", "rag")), "baselines that were not run are left out"
