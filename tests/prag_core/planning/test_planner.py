"""A plan holds exactly what is still to do, and the same again when it is asked again."""

import json
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from prag_core.bank import Bank, Stage
from prag_core.bank.deletions import write_event
from prag_core.config.schema import BankConfig, Config, CorpusConfig, LongDocuments, RayConfig
from prag_core.corpus.chunking import PassageLimit, TokenBudget
from prag_core.corpus.reader import read_corpus
from prag_core.errors import CorpusError, CorruptBankError
from prag_core.identity import Recipe, content_hash
from prag_core.models.lora import AdapterLayout, ModuleShape
from prag_core.planning.plan import Plan, Shard
from prag_core.planning.planner import make_plan
from prag_core.planning.recipe import PreparedRecipe
from prag_core.records import Adapter, Augmentation, Document, Factors, Failure, QAPair

LAYOUT = AdapterLayout((ModuleShape("up_proj", 4, 3),), rank=2, alpha=4.0)
FACTORS = {"up_proj": Factors(np.ones((2, 4), np.float32), np.ones((3, 2), np.float32))}
CONFIG = Config(bank=BankConfig(shard_documents=4))
Planner = Callable[..., Plan]


def docs(*doc_ids: str, wording: str = "text") -> list[Document]:
    return [Document(doc_id, f"{wording} of {doc_id}") for doc_id in doc_ids]


TEN = docs(*"abcdefghij")


@pytest.fixture
def prepared(tiny_tokenizer: Any) -> PreparedRecipe:
    limit = PassageLimit((TokenBudget(tiny_tokenizer, max_tokens=100, overhead=20),))
    return PreparedRecipe(Recipe({"model": "m"}), LAYOUT, FACTORS, limit, tiny_tokenizer, num_parameters=1000)


@pytest.fixture
def bank(tmp_path: Path, prepared: PreparedRecipe) -> Bank:
    return Bank.create(str(tmp_path / "bank"), prepared.recipe, LAYOUT, FACTORS)


@pytest.fixture
def plan(bank: Bank, prepared: PreparedRecipe) -> Planner:
    def planner(
        documents: Iterable[Document],
        *,
        config: Config = CONFIG,
        write: bool = True,
        retry_failed: bool = False,
    ) -> Plan:
        return make_plan(config, bank, documents, prepared, write=write, retry_failed=retry_failed)

    return planner


def augment(bank: Bank, shard: Shard, failing: Sequence[str] = ()) -> None:
    with bank.begin(Stage.augmentations, shard.shard_id) as writer:
        for document in bank.read_documents(shard.documents_object):
            key = (*document.key, content_hash(document))
            pair = QAPair("q", "a", "f")
            failed = document.doc_id in failing
            writer.add(
                Failure(*key, "augment", "bad", 1) if failed else Augmentation(*key, ("r",), (pair,), "g")
            )
        writer.commit()


def train(bank: Bank, shard: Shard, text_only: Sequence[str] = ()) -> None:
    augmented = bank.find_commit(Stage.augmentations, shard.shard_id)
    assert augmented is not None
    with bank.begin(Stage.adapters, shard.shard_id) as writer:
        for a in bank.read_augmentations(augmented):
            examined: dict[str, Any] = (
                {"accepted": a.doc_id not in text_only, "score": 0.5} if text_only else {}
            )
            writer.add(
                Adapter(
                    a.doc_id,
                    a.chunk,
                    a.content_hash,
                    FACTORS,
                    steps=1,
                    tokens=1,
                    loss_first=1.0,
                    loss_last=0.5,
                    **examined,
                )
            )
        writer.commit()


def finish(
    bank: Bank,
    made: Plan,
    failing: Sequence[str] = (),
    shards: Sequence[Shard] | None = None,
    text_only: Sequence[str] = (),
) -> None:
    """What a run does with a plan: all of its shards and the snapshot, or some shards and then it is killed."""
    for shard in made.shards if shards is None else shards:
        augment(bank, shard, failing)
        train(bank, shard, text_only)
    if shards is None:
        bank.write_snapshot(made.wanted())


def planned(bank: Bank, made: Plan) -> list[list[str]]:
    return [
        [document.doc_id for document in bank.read_documents(shard.documents_object)] for shard in made.shards
    ]


def everything(bank: Bank) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path(bank.uri).rglob("*") if path.is_file()}


def test_a_new_corpus_is_cut_into_shards_in_its_order(bank: Bank, plan: Planner) -> None:
    made = plan(TEN)
    assert planned(bank, made) == [list("abcd"), list("efgh"), list("ij")]
    assert [shard.num_documents for shard in made.shards] == [4, 4, 2]
    assert (made.counts.documents, made.counts.new, made.counts.done) == (10, 10, 0)


def test_a_corpus_of_less_than_a_shard_gives_every_actor_work_and_is_resumed_as_it_was_cut(
    bank: Bank, plan: Planner
) -> None:
    corpus = docs(*map(str, range(120)))
    two, five = (Config(ray=RayConfig(train_actors=actors)) for actors in (2, 5))
    made = plan(corpus, config=two)
    assert [name for shard in planned(bank, made) for name in shard] == [d.doc_id for d in corpus]
    assert [shard.num_documents for shard in made.shards] == [30] * 4
    finish(bank, made, shards=made.shards[:1])
    assert set(plan(corpus, config=five).shards) == set(made.shards[1:])


def test_a_corpus_that_fills_enough_shards_is_cut_into_full_ones(plan: Planner) -> None:
    config = Config(bank=BankConfig(shard_documents=64), ray=RayConfig(train_actors=2))
    for count, expected in ((280, [64] * 4 + [24]), (193, [64] * 3 + [1]), (192, [48] * 4)):
        made = plan(docs(*map(str, range(count))), config=config, write=False)
        assert [shard.num_documents for shard in made.shards] == expected


def test_planning_again_gives_the_same_shards(plan: Planner, prepared: PreparedRecipe) -> None:
    written, dry = plan(TEN), plan(TEN, write=False)
    without_bank = make_plan(CONFIG, None, TEN, prepared, write=False)
    assert (
        [s.shard_id for s in dry.shards]
        == [s.shard_id for s in written.shards]
        == [s.shard_id for s in without_bank.shards]
    )
    assert written.run != plan(TEN).run


def test_another_recipe_names_other_shards(plan: Planner, prepared: PreparedRecipe) -> None:
    other = make_plan(CONFIG, None, TEN, replace(prepared, recipe=Recipe({"model": "n"})), write=False)
    assert not {s.shard_id for s in other.shards} & {s.shard_id for s in plan(TEN).shards}


def test_a_shard_holds_no_more_adapters_than_its_megabytes(bank: Bank, prepared: PreparedRecipe) -> None:
    wide = AdapterLayout(
        (ModuleShape("up_proj", 200_000, 62_144),), rank=1, alpha=1.0
    )  # 262,144 numbers: 1 MiB as fp32
    config = Config(bank=BankConfig(shard_documents=100, shard_megabytes=3))
    made = make_plan(config, None, TEN, replace(prepared, layout=wide), write=False)
    assert [shard.num_documents for shard in made.shards] == [3, 3, 3, 1]
    config.bank.shard_megabytes = 0
    assert [
        s.num_documents
        for s in make_plan(config, None, TEN, replace(prepared, layout=wide), write=False).shards
    ] == [1] * 10


def test_a_dry_plan_writes_nothing(bank: Bank, plan: Planner) -> None:
    before = everything(bank)
    made = plan(TEN, write=False)
    assert everything(bank) == before
    assert all(shard.documents_object == "" for shard in made.shards)


def test_what_is_done_is_not_done_again(bank: Bank, plan: Planner) -> None:
    finish(bank, plan(TEN))
    again = plan(TEN)
    assert again.shards == ()
    assert (again.counts.done, again.counts.new) == (10, 0)


def test_what_a_killed_run_committed_counts_without_a_snapshot(bank: Bank, plan: Planner) -> None:
    first = plan(TEN)
    finish(bank, first, shards=first.shards[:1])
    again = plan(TEN)
    assert again.shards == first.shards[1:]
    assert (again.counts.done, again.counts.resumed, again.counts.new) == (4, 6, 0)
    assert plan(TEN).shards == first.shards[1:], "and so it stays"


def test_unfinished_shards_are_kept_as_they_are_when_the_corpus_grows_or_is_reordered(
    bank: Bank, plan: Planner
) -> None:
    first = plan(TEN)
    augment(bank, first.shards[0])
    grown = plan([*docs("0"), *reversed(TEN), *docs("z")])
    assert grown.shards[:3] == first.shards
    assert planned(bank, grown)[3:] == [["0", "z"]]


def test_an_unfinished_shard_with_an_edited_document_is_planned_anew_without_its_old_wording(
    bank: Bank, plan: Planner
) -> None:
    first = plan(TEN)
    edited = [*TEN[:1], *docs("b", wording="new text"), *TEN[2:]]
    again = plan(edited)
    assert again.shards[:2] == first.shards[1:]
    assert planned(bank, again)[2:] == [["b", "a", "c", "d"]]
    assert bank.read_documents(again.shards[2].documents_object)[0].text == "new text of b"
    assert (again.counts.new, again.counts.resumed) == (4, 6)


def test_an_unfinished_shard_loses_the_documents_that_left_the_corpus(bank: Bank, plan: Planner) -> None:
    first = plan(TEN)
    again = plan(TEN[1:4])
    assert planned(bank, again) == [list("bcd")]
    assert planned(bank, plan(TEN[1:4])) == [list("bcd")]
    assert [s.shard_id for s in plan(TEN, write=False).shards] != [s.shard_id for s in first.shards]


def test_a_failure_in_the_augmentations_of_an_unfinished_shard_does_not_break_it(
    bank: Bank, plan: Planner
) -> None:
    first = plan(TEN)
    augment(bank, first.shards[0], failing=["b"])
    assert plan(TEN).shards == first.shards


def test_a_run_names_the_documents_that_leave_for_its_corpus(bank: Bank, plan: Planner) -> None:
    first = plan(TEN)
    finish(bank, first)
    published = bank.latest_snapshot()
    assert published is not None and first.departures(published) == []
    again = plan(TEN[7:])
    assert again.departures(bank.write_snapshot(again.wanted())) == [
        "7 documents of the last snapshot are not in this corpus and left it: a, b, c, d, e, …"
    ]


def test_a_run_says_that_another_published_after_it_was_planned(bank: Bank, plan: Planner) -> None:
    finish(bank, plan(TEN))
    ours, theirs = plan(TEN[:9]), plan(TEN[:8])
    between = bank.write_snapshot(theirs.wanted())
    said = ours.departures(bank.write_snapshot(ours.wanted()))
    assert said[0] == "1 document of the last snapshot is not in this corpus and left it: j"
    assert said[1].startswith(f"another command published snapshot {between.name} during this run")


def test_edited_documents_are_new_and_the_old_wording_leaves(bank: Bank, plan: Planner) -> None:
    finish(bank, plan(TEN))
    again = plan([*TEN[:8], *docs("i", wording="new text")])
    assert planned(bank, again) == [["i"]]
    assert (again.counts.new, again.counts.edited, again.counts.left, again.counts.done) == (1, 1, 1, 8)
    finish(bank, again)
    assert plan(TEN).counts.new == 0, "the bank still has both wordings"


def test_quarantined_documents_stay_out_until_they_are_asked_for(bank: Bank, plan: Planner) -> None:
    finish(bank, plan(TEN), failing=["b", "i"])
    again = plan(TEN)
    assert (again.shards, again.counts.failed, again.counts.done) == ((), 2, 8)
    retried = plan(TEN, retry_failed=True)
    assert planned(bank, retried) == [["b", "i"]]
    assert (retried.counts.retried, retried.counts.failed, retried.counts.new) == (2, 0, 2)


def test_text_only_documents_are_done_until_they_are_asked_for(bank: Bank, plan: Planner) -> None:
    finish(bank, plan(TEN), failing=["i"], text_only=["b", "c"])
    again = plan(TEN)
    assert (again.shards, again.counts.text_only, again.counts.failed, again.counts.done) == ((), 2, 1, 7)
    assert "7 done, 2 text_only, 1 quarantined" in again.summary()
    retried = plan(TEN, retry_failed=True)
    assert planned(bank, retried) == [["b", "c", "i"]]
    assert (retried.counts.retried, retried.counts.text_only, retried.counts.failed) == (3, 0, 0)
    finish(bank, retried, text_only=["b"])
    assert (plan(TEN).counts.text_only, plan(TEN).counts.done) == (1, 9)


def test_every_retry_is_a_shard_of_its_own(bank: Bank, plan: Planner) -> None:
    names = []
    for attempt in range(4):
        made = plan(TEN[:1], retry_failed=attempt > 0)
        assert planned(bank, made) == [["a"]]
        names += [shard.shard_id for shard in made.shards]
        finish(bank, made, failing=["a"])
    assert len(set(names)) == 4
    made = plan(TEN[:1], retry_failed=True)
    finish(bank, made)
    assert plan(TEN[:1], retry_failed=True).shards == ()
    assert plan(TEN[:1]).counts.done == 1, "an adapter outweighs its failures"


def test_a_retry_that_was_killed_is_resumed(bank: Bank, plan: Planner) -> None:
    finish(bank, plan(TEN), failing=["b"])
    retried = plan(TEN, retry_failed=True)
    assert plan(TEN).shards == retried.shards
    assert plan(TEN, retry_failed=True).shards == retried.shards


def test_deleted_documents_stay_out_even_in_another_wording(bank: Bank, plan: Planner) -> None:
    finish(bank, plan(TEN[:4]))
    write_event(bank, "delete", ["b", "c"])
    bank.write_snapshot(plan(TEN[:4]).wanted())
    again = plan([*TEN[:1], *docs("b", wording="new text"), *TEN[2:5]])
    assert planned(bank, again) == [["e"]]
    assert (again.counts.deleted, again.counts.done) == (2, 2)


def test_a_deletion_takes_the_document_out_of_an_unfinished_shard(bank: Bank, plan: Planner) -> None:
    first = plan(TEN)
    write_event(bank, "delete", ["b"])
    bank.write_snapshot(first.wanted())
    assert planned(bank, plan(TEN)) == [list("efgh"), list("ij"), list("acd")]


def test_a_run_that_was_stopped_while_planning_is_passed_over(bank: Bank, plan: Planner) -> None:
    first = plan(TEN)
    bank.write_run("99991231T000000-stopped", "wanted.parquet", b"only this")
    assert plan(TEN).shards == first.shards


def test_a_corpus_that_breaks_off_leaves_the_bank_as_it_was(
    bank: Bank, plan: Planner, tmp_path: Path
) -> None:
    (tmp_path / "c.jsonl").write_text(
        "".join(f'{{"id": {i}, "text": "x{i}"}}\n' for i in range(20)) + "{broken"
    )
    before = everything(bank)
    with pytest.raises(CorpusError, match="line 21"):
        plan(read_corpus(CorpusConfig(uri=str(tmp_path / "c.jsonl"))))
    assert everything(bank) == before


def test_an_unfinished_shard_whose_documents_are_gone_is_planned_anew(bank: Bank, plan: Planner) -> None:
    first = plan(TEN)
    Path(bank.uri, first.shards[0].documents_object).unlink()
    again = plan(TEN)
    assert [s.shard_id for s in again.shards] == [s.shard_id for s in (*first.shards[1:], first.shards[0])]
    assert planned(bank, again)[2] == list("abcd")


def test_every_byte_of_a_run_is_checked(bank: Bank, plan: Planner) -> None:
    made = plan(TEN)
    folder = Path(bank.uri, "runs", made.run)
    assert {path.name for path in folder.iterdir()} == {
        "plan.json",
        "wanted.parquet",
        "members.parquet",
        "config.yaml",
        "versions.txt",
    }
    for path in folder.iterdir():
        data = path.read_bytes()
        path.write_bytes(data[:20] + bytes([data[20] ^ 1]) + data[21:])
        with pytest.raises(CorruptBankError, match=path.name):
            bank.read_run_sealed(made.run, path.name) if path.name == "plan.json" else bank.read_run(
                made.run, path.name
            )
        if path.name in ("plan.json", "members.parquet"):
            with pytest.raises(CorruptBankError, match=path.name):
                plan(TEN)
        path.write_bytes(data)


def test_the_documents_of_an_uncommitted_shard_are_checked(bank: Bank, plan: Planner) -> None:
    made = plan(TEN)
    assert plan(TEN).shards == made.shards, "the next plan knows their digests, too"
    path = Path(bank.uri, made.shards[0].documents_object)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(CorruptBankError, match=r"documents/.* is damaged"):
        bank.read_documents(made.shards[0].documents)
    with pytest.raises(CorruptBankError, match=r"documents/.* is damaged"):
        plan(TEN[1:])


def test_a_plan_of_before_digests_were_kept_is_resumed(bank: Bank, plan: Planner) -> None:
    made = plan(TEN)
    path = Path(bank.uri, "runs", made.run, "plan.json")
    fields = json.loads(path.read_bytes())
    del fields["sha256"], fields["objects"]
    for shard in fields["shards"]:
        del shard["documents_bytes"], shard["documents_sha256"]
    path.write_text(json.dumps(fields))
    again = plan(TEN)
    assert [s.shard_id for s in again.shards] == [s.shard_id for s in made.shards]
    assert bank.read_documents(again.shards[0].documents) == bank.read_documents(made.shards[0].documents)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"3",
        b"[]",
        b"{}",
        b"[" * 100_000,
        b'{"shards": [3]}',
        b'{"shards": [{"shard_id": "../x", "documents_object": "a", "num_documents": 1, "num_tokens": 1}]}',
        b'{"shards": [{"shard_id": "x", "documents_object": "/etc/passwd", "num_documents": 1, "num_tokens": 1}]}',
    ],
)
def test_a_plan_that_is_none_is_damage(bank: Bank, plan: Planner, content: bytes) -> None:
    made = plan(TEN)
    Path(bank.uri, "runs", made.run, "plan.json").write_bytes(content)
    with pytest.raises(CorruptBankError, match=r"plan\.json"):
        plan(TEN)


def test_the_run_keeps_the_corpus_as_the_snapshot_shall_hold_it(bank: Bank, plan: Planner) -> None:
    made = plan(TEN)
    saved = pq.read_table(pa.BufferReader(bank.read_run(made.run, "wanted.parquet")))
    assert saved.to_pylist() == [
        {"doc_id": d.doc_id, "chunk": 0, "content_hash": content_hash(d)} for d in TEN
    ]
    assert made.wanted().equals(saved)


def test_documents_too_long_are_named_and_left_whole(bank: Bank, plan: Planner) -> None:
    made = plan([*TEN[:1], Document("long", "word " * 50)])
    assert (made.counts.long, made.long_documents) == (1, ("long",))
    assert planned(bank, made) == [["a", "long"]]


def test_documents_too_long_become_chunks_on_request(bank: Bank, plan: Planner) -> None:
    config = Config(
        bank=CONFIG.bank, corpus=CorpusConfig(long_documents=LongDocuments.chunk, chunk_overlap=10)
    )
    made = plan([*TEN[:1], Document("long", "word " * 50)], config=config)
    assert made.counts.long == 0
    keys = [document.key for shard in made.shards for document in bank.read_documents(shard.documents_object)]
    assert keys == [("a", 0), ("long", 0), ("long", 1), ("long", 2)]
    finish(bank, made)
    assert plan([*TEN[:1], Document("long", "word " * 50)], config=config).counts.done == 4


def test_duplicates_are_counted(tmp_path: Path, plan: Planner) -> None:
    (tmp_path / "c.jsonl").write_text('{"id": 1, "text": "x"}\n' * 3)
    made = plan(read_corpus(CorpusConfig(uri=str(tmp_path / "c.jsonl"))))
    assert (made.counts.documents, made.counts.duplicates) == (1, 2)


def test_the_summary_says_what_is_to_do(bank: Bank, plan: Planner) -> None:
    first = plan(TEN)
    finish(bank, first, shards=first.shards[:1], failing=["b"])
    assert (
        plan(TEN)
        .summary()
        .startswith("10 documents: 3 done, 1 quarantined, 6 to do in 2 shards (0 new, 6 left from")
    )


@pytest.mark.parametrize("seed", range(6))
def test_whatever_happens_to_runs_and_corpus_the_last_whole_run_leaves_every_document_once(
    bank: Bank, plan: Planner, seed: int
) -> None:
    """Edits, additions, removals, deletions, failures, retries and kills at any point; then one run to the end."""
    rng = random.Random(seed)
    corpus = {document.doc_id: document for document in TEN}
    deleted: set[str] = set()
    for step in range(12):
        for doc_id in rng.sample(sorted(corpus), min(len(corpus), rng.randrange(3))):
            corpus[doc_id] = docs(doc_id, wording=rng.choice(["text", "one", "two"]))[0]
        corpus |= {document.doc_id: document for document in docs(f"new-{step}", rng.choice("abcdefghij"))}
        for doc_id in rng.sample(sorted(corpus), rng.randrange(2)):
            del corpus[doc_id]
        made = plan(list(corpus.values()), retry_failed=rng.random() < 0.3)
        failing = rng.sample(sorted(corpus), 2)
        for shard in rng.sample(made.shards, rng.randrange(len(made.shards) + 1)):
            augment(bank, shard, failing)
            if rng.random() < 0.7:
                train(bank, shard)
        if rng.random() < 0.2:
            deleted |= set(rng.sample(sorted(corpus), 1))
            write_event(bank, "delete", deleted)
            bank.write_snapshot(made.wanted())
    made = plan(list(corpus.values()))
    todo = [document.key for shard in made.shards for document in bank.read_documents(shard.documents_object)]
    assert len(todo) == len(set(todo)) == made.counts.new + made.counts.resumed
    for shard in made.shards:
        if bank.find_commit(Stage.augmentations, shard.shard_id) is None:
            augment(bank, shard)
        train(bank, shard)
    index = bank.write_snapshot(made.wanted()).index
    kept = {doc_id for doc_id in corpus if doc_id not in deleted}
    assert sorted(index["doc_id"].to_pylist()) == sorted(kept)
    assert set(index["content_hash"].to_pylist()) == {content_hash(corpus[doc_id]) for doc_id in kept}
    assert plan(list(corpus.values())).shards == ()


def test_a_plan_counts_and_names_the_rejected_rows_of_its_corpus(
    bank: Bank, plan: Planner, tmp_path: Path
) -> None:
    rows = "".join(f'{{"id": {i}, "text": "{"x" if i % 2 else ""}"}}\n' for i in range(50))
    (tmp_path / "c.jsonl").write_text(rows)
    made = plan(read_corpus(CorpusConfig(uri=str(tmp_path / "c.jsonl"), max_rejected=0.5)))
    assert (made.counts.documents, made.counts.rejected) == (25, 25)
    first, *named, more = made.rejections()
    assert first == "25 rows rejected:" and more == "  … 5 more"
    assert "c.jsonl line 1: document '0' has no text" in named[0]
    saved = json.loads(bank.read_run(made.run, "plan.json"))
    assert saved["counts"]["rejected"] == 25 and saved["rejected_rows"] == list(made.rejected_rows)
