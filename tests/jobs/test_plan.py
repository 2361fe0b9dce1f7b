"""`prag plan` says what a run would do, and does nothing."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from jobs import cli
from prag_core.bank import Bank
from prag_core.config.load import load_config
from prag_core.corpus.reader import read_corpus
from prag_core.errors import StorageError
from prag_core.planning.planner import make_plan
from prag_core.planning.recipe import prepare_recipe

MODEL = Path(__file__).resolve().parents[2] / "examples" / "mini" / "model"
Plan = Callable[..., tuple[int, str, str]]


@pytest.fixture
def settings(tmp_path: Path) -> list[str]:
    lines = [{"doc_id": str(i), "text": f"text of {i}"} for i in range(10)] + [
        {"doc_id": "0", "text": "text of 0"}
    ]
    (tmp_path / "corpus.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return [
        f"corpus.uri={tmp_path}/corpus.jsonl",
        f"bank.uri={tmp_path}/bank",
        f"model.path={MODEL}",
        "bank.shard_documents=4",
    ]


@pytest.fixture
def plan(settings: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Plan:
    monkeypatch.setenv("COLUMNS", "200")

    def run(*more: str) -> tuple[int, str, str]:
        status = cli.main(["plan", *settings, *more])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def cells(output: str) -> dict[str, str]:
    rows = [
        [cell.strip() for cell in line.strip("│").split("│")]
        for line in output.splitlines()
        if line.startswith("│")
    ]
    return {row[0]: row[1] for row in rows if len(row) == 2}


def test_a_plan_without_a_bank_prints_what_would_be_done_and_makes_none(plan: Plan, tmp_path: Path) -> None:
    status, output, _ = plan()
    shown = cells(output)
    assert status == 0
    assert (shown["documents in the corpus"], shown["new"], shown["already done"]) == ("10", "10", "0")
    assert shown["repeated in the corpus, dropped"] == "1"
    assert shown["shards"] == "3 of 2 to 4 documents"
    assert "GPU hours" in shown and "bytes of bank" in shown and "tokens to train on" in shown
    assert "not there yet" in output and "790 TFLOP/s" in output
    assert not (tmp_path / "bank").exists()


def test_paths_are_printed_letter_for_letter(plan: Plan, tmp_path: Path) -> None:
    corpus = tmp_path / "arXiv:2301.1[cs.CL].jsonl"
    corpus.write_text(json.dumps({"doc_id": "a", "text": "text"}) + "\n")
    status, output, _ = plan(f"corpus.uri={corpus}", f"bank.uri={tmp_path}/[/r/]bank")
    assert status == 0 and f"{corpus} → {tmp_path}/[/r/]bank (not there yet)" in output


def test_a_plan_over_a_bank_counts_what_an_earlier_run_left(
    plan: Plan, settings: list[str], tmp_path: Path
) -> None:
    config = load_config(settings)
    prepared = prepare_recipe(config)
    bank = Bank.create(config.bank.uri, prepared.recipe, prepared.layout, prepared.initial)
    make_plan(config, bank, read_corpus(config.corpus), prepared, write=True)
    before = sorted((tmp_path / "bank").rglob("*"))
    _, output, _ = plan()
    assert cells(output)["left over from an unfinished run"] == "10"
    assert sorted((tmp_path / "bank").rglob("*")) == before


def test_a_plan_reads_a_bank_that_it_cannot_write(
    plan: Plan, settings: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load_config(settings)
    prepared = prepare_recipe(config)
    Bank.create(config.bank.uri, prepared.recipe, prepared.layout, prepared.initial)
    access = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: mode != os.W_OK and access(path, mode)
    )  # root may write all
    with pytest.raises(StorageError, match="cannot be written"):
        Bank.create(config.bank.uri, prepared.recipe, prepared.layout, prepared.initial)
    status, output, _ = plan()
    assert status == 0 and cells(output)["new"] == "10" and "not there yet" not in output


def test_a_plan_takes_paths_as_every_verb_does(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(MODEL.parent))
    status, output, _ = plan("model.path=~/model", f"corpus.uri=file://{tmp_path}/corpus.jsonl")
    assert status == 0 and cells(output)["new"] == "10"


def test_a_plan_over_a_bank_of_another_recipe_is_refused(plan: Plan, settings: list[str]) -> None:
    config = load_config(settings)
    prepared = prepare_recipe(config)
    Bank.create(config.bank.uri, prepared.recipe, prepared.layout, prepared.initial)
    status, _, error = plan("training.epochs=2")
    assert status != 0 and "training.epochs" in error and "another recipe" in error


def test_documents_that_are_too_long_are_named_with_what_to_do(
    plan: Plan, settings: list[str], tmp_path: Path
) -> None:
    (tmp_path / "corpus.jsonl").write_text(json.dumps({"doc_id": "[long]", "text": "word " * 5000}) + "\n")
    _, output, _ = plan()
    assert "1 documents are longer than the model's context and would be quarantined: [long]" in output
    assert "corpus.long_documents=chunk" in output
    _, output, _ = plan("corpus.long_documents=chunk")
    assert "quarantined: [long]" not in output and int(cells(output)["documents in the corpus"]) > 1


def test_rejected_rows_are_counted_and_named_with_file_row_and_reason(plan: Plan, tmp_path: Path) -> None:
    with (tmp_path / "corpus.jsonl").open("a") as corpus:
        corpus.write('{"_id": "[empty]", "title": "T", "text": "", "metadata": {}}\n')
    status, output, _ = plan()
    shown = cells(output)
    assert status == 0 and (shown["documents in the corpus"], shown["rows rejected"]) == ("10", "1")
    assert "1 row rejected:" in output
    assert "corpus.jsonl line 12: document '[empty]' has no text" in output
    status, _, error = plan("corpus.max_rejected=0")
    assert status != 0 and "1 of 12 rows cannot be used" in error and "line 12" in error


def test_what_is_supported_of_scripts_without_spaces_is_said_where_it_matters(
    plan: Plan, tmp_path: Path
) -> None:
    assert "scripts without spaces" not in plan()[1]
    with (tmp_path / "corpus.jsonl").open("a") as corpus:
        corpus.write(json.dumps({"id": "ja", "text": "東京は日本の首都です。"}) + "\n")
    assert "9 % of the documents are in scripts without spaces" in plan()[1]


def test_layers_that_a_target_does_not_reach_are_told(plan: Plan, tmp_path: Path) -> None:
    shutil.copytree(MODEL, tmp_path / "model", ignore=shutil.ignore_patterns("*.safetensors"))
    config = json.loads((MODEL / "config.json").read_text())
    layers = config["num_hidden_layers"]
    mixed = {"model_type": "qwen3_moe", "mlp_only_layers": [0], "num_experts": 2, "num_experts_per_tok": 1}
    (tmp_path / "model/config.json").write_text(json.dumps(config | mixed))
    assert "training.targets:" not in plan()[1]
    status, output, _ = plan(f"model.path={tmp_path}/model")
    assert status == 0 and f"training.targets: gate_proj is in 1 of the model's {layers} layers" in output


def test_a_mistake_is_one_line_on_standard_error(plan: Plan) -> None:
    status, output, error = plan("corpus.uri=/nowhere.jsonl")
    assert status == 1 and output == ""
    assert error == "error: corpus.uri=/nowhere.jsonl: no such file or folder\n"
