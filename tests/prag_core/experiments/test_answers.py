"""Answers come back as they were given, under the identity of what they depend on and under no other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prag_core.bank import Bank, Snapshot
from prag_core.bank.tables import WANTED
from prag_core.config.load import load_config
from prag_core.experiments.answers import AnswerStore, answering_fields, question_digest
from prag_core.planning.recipe import prepare_recipe
from prag_core.records import Answer, Passage, Question, Round

PASSAGE = Passage("dé", 1, "Title", "", 2.5)
FULL = Answer(
    "Rome.",
    passages=(PASSAGE,),
    adapters=(("dé", 1),),
    degraded=((("d2", 0), "corrupt"),),
    timings_ms={"generate": 1.5},
    rounds=(Round("query", (PASSAGE,)),),
    num_tokens=7,
    route="rag",
    shown=(("dé", 1),),
    finish="length",
)


@pytest.fixture(scope="module")
def snapshots(tmp_path_factory: pytest.TempPathFactory) -> list[Snapshot]:
    """Of two empty banks of different recipes."""
    made = []
    for rank in (1, 2):
        prepared = prepare_recipe(load_config([f"training.rank={rank}"]))
        folder = tmp_path_factory.mktemp("bank")
        bank = Bank.create(str(folder), prepared.recipe, prepared.layout, prepared.initial)
        made.append(bank.write_snapshot(WANTED.empty_table()))
    return made


def fields(*settings: str, method: str = "prag", asked: str = "questions") -> dict[str, Any]:
    return answering_fields(load_config(list(settings)), method, asked)


def test_answers_come_back_as_they_were_given(snapshots: list[Snapshot], tmp_path: Path) -> None:
    AnswerStore(str(tmp_path)).put(snapshots[0], fields(), [FULL, Answer("")])
    assert AnswerStore(str(tmp_path)).find(snapshots[0], fields()) == [FULL, Answer("")]


def test_passages_are_kept_without_their_text(snapshots: list[Snapshot], tmp_path: Path) -> None:
    AnswerStore(str(tmp_path)).put(
        snapshots[0], fields(), [Answer("", passages=(Passage("d", 0, "T", "a long text", 1.0),))]
    )
    assert "a long text" not in next(tmp_path.iterdir()).read_text()


def test_whatever_answers_depend_on_is_in_their_identity(snapshots: list[Snapshot], tmp_path: Path) -> None:
    store = AnswerStore(str(tmp_path))
    store.put(snapshots[0], fields(), [FULL])
    assert store.find(snapshots[1], fields()) is None
    others = (
        "retrieval.top_k=1",
        "retrieval.k1=2",
        "merge.rule=mean",
        "merge.density=0.5",
        "engine.kind=transformers",
        "engine.dtype=float32",
        "engine.max_new_tokens=7",
        "methods.flare_threshold=0.5",
        "evaluate.seed=1",
        "model.max_length=99",
    )
    for other in others:
        assert store.find(snapshots[0], fields(other)) is None, other
    assert store.find(snapshots[0], fields(method="combine")) is None
    assert store.find(snapshots[0], fields(asked="others")) is None


def test_what_changes_no_answer_is_not(snapshots: list[Snapshot], tmp_path: Path) -> None:
    store = AnswerStore(str(tmp_path))
    store.put(snapshots[0], fields(), [FULL])
    for same in (
        "engine.kv_cache_gigabytes=3",
        "evaluate.num_resamples=9",
        "serve.port=1",
        "ray.train_actors=4",
        "bank.uri=x",
    ):
        assert store.find(snapshots[0], fields(same)) == [FULL], same


def test_the_routers_of_a_folder_count_by_what_they_are(tmp_path: Path) -> None:
    (router := tmp_path / "one/adaptive_rag.json").parent.mkdir()
    (copy := tmp_path / "two/adaptive_rag.json").parent.mkdir()
    router.write_text("{}")
    copy.write_text("{}")
    first = fields(f"methods.router={router.parent}")
    assert first == fields(f"methods.router={copy.parent}") != fields()
    copy.write_text("[]")
    assert first != fields(f"methods.router={copy.parent}")


def test_questions_are_what_is_asked_not_what_is_accepted() -> None:
    question = Question("q", "Where?", ("Rome",), ("d",))
    assert question_digest([question]) == question_digest([Question("q", "Where?", ("Bonn",), ("d",))])
    assert question_digest([question]) != question_digest([Question("q", "When?", ("Rome",), ("d",))])
    assert question_digest([question]) != question_digest([Question("q", "Where?", ("Rome",), ("e",))])


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b'{"answers": [{"txt": 1}]}', b'{"answers": [{"text": "x", "new": 1}]}']
)
def test_what_cannot_be_read_is_not_there(snapshots: list[Snapshot], tmp_path: Path, damage: bytes) -> None:
    store = AnswerStore(str(tmp_path))
    store.put(snapshots[0], fields(), [FULL])
    next(tmp_path.iterdir()).write_bytes(damage)
    assert store.find(snapshots[0], fields()) is None
