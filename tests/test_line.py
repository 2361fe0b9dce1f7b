"""The whole line in one process, without Ray: corpus → augmentations → adapters → bank → index → answers → report."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest

from jobs import cli
from prag_core.bank import Bank, Stage
from prag_core.bank.reader import read_adapter_rows
from prag_core.config.load import load_config
from prag_core.config.schema import Config, MethodsConfig
from prag_core.corpus.reader import read_corpus
from prag_core.errors import BankError
from prag_core.evaluation.output import write_report
from prag_core.experiments.evaluate import evaluate
from prag_core.planning.planner import make_plan
from prag_core.planning.recipe import prepare_recipe
from prag_core.retrieval import build_index
from prag_core.stages.shard import AugmentStage, TrainStage

MINI = Path(__file__).resolve().parents[1] / "examples/mini"
METHODS = ["closed_book", "rag", "prag", "combine", "prag_irrelevant", "prag_gold"]
COMPARED = ["da_rag", "ircot", "flare", "flare_lookahead", "dragin"]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Eight held-out documents of one kind and the single-hop dev questions about them, in a bank with its index."""
    folder = tmp_path_factory.mktemp("line")
    lines = (MINI / "corpus.jsonl").read_text().splitlines()
    documents = [document for document in map(json.loads, lines) if document["metadata"]["split"] == "dev"][
        :8
    ]
    ids = {document["doc_id"] for document in documents}
    for number, document in enumerate(documents):
        document["metadata"]["number"] = number
    questions = [
        line
        for line in (MINI / "questions.dev.jsonl").read_text().splitlines()
        if json.loads(line)["type"] == "single" and set(json.loads(line)["gold_doc_ids"]) <= ids
    ]
    (folder / "corpus.jsonl").write_text("".join(f"{json.dumps(document)}\n" for document in documents))
    (folder / "questions.jsonl").write_text("\n".join(questions) + "\n")
    settings = [
        f"corpus.uri={folder}/corpus.jsonl",
        f"bank.uri={folder}/bank",
        "bank.tier=bf16",
        "augmentation.engine=transformers",
        "engine.kind=transformers",
        "engine.dtype=float32",
        f"evaluate.questions={folder}/questions.jsonl",
        f"evaluate.methods=[{','.join(METHODS)}]",
        f"evaluate.out={folder}/out",
        "evaluate.num_resamples=200",
    ]
    made = load_config(settings)
    train(made)
    return made


def train(config: Config) -> Bank:
    """A bank as a run makes it, with its index."""
    prepared = prepare_recipe(config)
    bank = Bank.create(config.bank.uri, prepared.recipe, prepared.layout, prepared.initial)
    plan = make_plan(config, bank, read_corpus(config.corpus), prepared, write=True)
    for stage in (AugmentStage(bank.uri, config), TrainStage(bank.uri, config)):
        for shard in plan.shards:
            assert not stage.run(shard.shard_id, shard.documents_object).reused
            assert stage.run(shard.shard_id, shard.documents_object).reused
    build_index(bank, bank.write_snapshot(plan.wanted()), config.retrieval)
    return bank


def test_every_document_has_an_adapter_in_the_tier_asked_for(config: Config) -> None:
    snapshot = Bank.open(config.bank.uri).latest_snapshot()
    assert snapshot is not None and snapshot.counts == {
        "adapter": 8,
        "text_only": 0,
        "failed": 0,
        "deleted": 0,
    }
    assert set(snapshot.index["tier"].to_pylist()) == {"bf16"}
    assert len(Bank.open(config.bank.uri).committed_shards(Stage.adapters)) == 1


def test_distillation_makes_another_bank_whose_adapters_come_nearer_to_the_reading_model(
    config: Config, tmp_path: Path
) -> None:
    training = replace(config.training, objective="distill", distill_hidden=0.1, epochs=4, learning_rate=3e-3)
    augmentation = replace(config.augmentation, uri=config.bank.uri)
    bank = replace(config.bank, uri=str(tmp_path / "distilled"))
    distilled = train(replace(config, bank=bank, augmentation=augmentation, training=training))
    assert distilled.recipe.id != Bank.open(config.bank.uri).recipe.id
    (commit,) = distilled.list_commits(Stage.adapters).values()
    written = commit.object("adapters")
    assert written is not None
    adapters = {adapter.key: adapter for adapter in read_adapter_rows(distilled, written.path)}
    (augmented,) = distilled.list_commits(Stage.augmentations).values()
    for written_about in distilled.read_augmentations(augmented):
        assert adapters[written_about.key].steps == 4 * len(written_about.qa_pairs) * (
            1 + len(written_about.rewrites)
        )
    first, last = (
        fmean(values)
        for values in zip(*((a.loss_first, a.loss_last) for a in adapters.values()), strict=True)
    )
    assert len(adapters) == 8 and last < 0.5 * first


def test_evaluation_writes_a_report_in_which_reading_beats_guessing(config: Config) -> None:
    report = evaluate(config)
    write_report(report, config.evaluate.out)
    written = json.loads((Path(config.evaluate.out) / "report.json").read_text())
    assert set(written["methods"]) == set(METHODS)
    f1 = {name: result["f1"] for name, result in written["methods"].items()}
    assert f1["rag"] >= 0.6 and f1["rag"] >= f1["closed_book"] + 0.4
    answers = {(p.method, p.question.question_id): p.answer for p in report.predictions}
    for (method, _), answer in answers.items():
        assert bool(answer.adapters) == (method not in ("closed_book", "rag"))
        assert not answer.degraded


@pytest.mark.parametrize("name", COMPARED)
def test_a_compared_method_answers_with_and_without_adapters(config: Config, name: str) -> None:
    settings = replace(config.evaluate, methods=[name, f"{name}+prag"], limit=6)
    eager = MethodsConfig(
        flare_threshold=0, lookahead_act_below=1, lookahead_blank_below=1, dragin_threshold=0
    )
    report = evaluate(replace(config, evaluate=settings, methods=eager))
    assert {p.method for p in report.predictions if p.answer.adapters} == {f"{name}+prag"}
    for prediction in report.predictions:
        found = {passage.key for made in prediction.answer.rounds for passage in made.passages}
        assert prediction.answer.num_tokens > 0 and not prediction.answer.degraded
        assert (
            set(prediction.answer.adapters) <= found and {p.key for p in prediction.answer.passages} <= found
        )
    assert report.methods[f"{name}+prag"].retrievals > 0


def test_a_corrupt_adapter_degrades_its_document_to_text_and_the_answer_says_so(
    config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    bank = Bank.open(config.bank.uri)
    snapshot = bank.latest_snapshot()
    assert snapshot is not None
    (question, *_) = (json.loads(line) for line in Path(config.evaluate.questions).read_text().splitlines())
    key = (question["gold_doc_ids"][0], 0)
    entry = snapshot.lookup([key])[key]
    path = Path(config.bank.uri) / str(entry.adapter_object)
    data = bytearray(path.read_bytes())
    data[int(entry.start or 0)] ^= 1
    path.write_bytes(data)
    settings = [f"bank.uri={config.bank.uri}", "engine.kind=transformers", "engine.dtype=float32"]
    assert cli.main(["ask", question["question"], "--json", *settings]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [list(key)] == [
        key for key, reason in answer["degraded"] if reason == "its adapter cannot be read"
    ]
    assert list(key) not in answer["adapters"]


def test_documents_whose_adapters_failed_the_exam_are_answered_from_as_text_and_every_answer_says_so(
    config: Config, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One short epoch teaches nobody to answer without the passage, so that here `prag` is `rag`, word for word."""
    uri = f"{tmp_path}/examined"
    settings = [
        f"bank.uri={uri}",
        f"augmentation.uri={config.bank.uri}",
        "engine.kind=transformers",
        "engine.dtype=float32",
    ]
    settings += [
        f"corpus.uri={config.corpus.uri}",
        f"evaluate.questions={config.evaluate.questions}",
        "evaluate.num_resamples=10",
    ]
    made = load_config(
        [
            *settings,
            "acceptance.threshold=1",
            "acceptance.max_retries=0",
            "evaluate.methods=[rag,prag,combine]",
        ]
    )
    train(made)
    snapshot = Bank.open(uri).latest_snapshot()
    assert snapshot is not None and snapshot.counts == {
        "adapter": 0,
        "text_only": 8,
        "failed": 0,
        "deleted": 0,
    }
    report = evaluate(made)
    answers = {
        name: [p.answer for p in report.predictions if p.method == name] for name in made.evaluate.methods
    }
    assert (
        [a.text for a in answers["prag"]]
        == [a.text for a in answers["combine"]]
        == [a.text for a in answers["rag"]]
    )
    for answer in answers["prag"]:
        assert not answer.adapters and [key for key, _ in answer.degraded] == [
            passage.key for passage in answer.passages
        ]
        assert all(why.startswith("text_only: its adapter answered") for _, why in answer.degraded)
    assert report.methods["prag"].num_degraded == len(answers["prag"]) > 0
    question = report.predictions[0].question.question
    assert cli.main(["ask", question, "--json", *settings]) == 0
    asked = json.loads(capsys.readouterr().out)
    assert (
        len(asked["degraded"]) == len(asked["passages"]) and "100% are asked for" in asked["degraded"][0][1]
    )


def test_asking_with_a_filter_and_a_merge_rule_uses_both(
    config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    documents = [json.loads(line) for line in Path(config.corpus.uri).read_text().splitlines()]
    question = " ".join(document["title"] for document in documents)
    settings = [
        f"bank.uri={config.bank.uri}",
        "engine.kind=transformers",
        "engine.dtype=float32",
        "merge.rule=ties",
    ]
    for numbers in ((3, 4), (99,)):
        filters = [text for number in numbers for text in ("--filter", f"number={number}")]
        assert cli.main(["ask", question, "--json", *filters, "--filter", "split=dev", *settings]) == 0
        answer = json.loads(capsys.readouterr().out)
        expected = {document["doc_id"] for document in documents if document["metadata"]["number"] in numbers}
        assert {passage["doc_id"] for passage in answer["passages"]} == expected
        assert {doc_id for doc_id, _ in answer["adapters"]} | {
            doc_id for (doc_id, _), _ in answer["degraded"]
        } == expected


def test_a_bank_of_another_model_is_not_answered_from(config: Config, tmp_path: Path) -> None:
    other = tmp_path / "model"
    shutil.copytree(config.model.path, other)
    fields = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(fields | {"rms_norm_eps": 1e-4}))
    with pytest.raises(BankError, match="another model"):
        evaluate(replace(config, model=replace(config.model, path=str(other))))
