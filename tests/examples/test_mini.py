"""The miniature world keeps its promises: same data every time, nothing held out leaks, and the model reads."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch
from safetensors import safe_open
from transformers import AutoModelForCausalLM, AutoTokenizer

from examples.mini import augmentation_scores, data, mixture, phrases, schedule, world
from examples.mini.mixture import Mixture
from examples.mini.tokenizer import render
from examples.mini.warmup import warmup_questions
from prag_core.models import prompts

FOLDER = Path(__file__).parents[2] / "examples" / "mini"
MODEL = FOLDER / "model"
SPLITS = ("known", "dev", "test")


def rows(name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FOLDER / name).read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(MODEL)


@pytest.fixture(scope="module")
def model() -> Any:
    return AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32).eval()


@pytest.mark.parametrize("name", data.FILES)
def test_committed_data_is_what_the_seed_gives(name: str) -> None:
    assert (FOLDER / name).read_text(encoding="utf-8") == data.file_text(name)


def test_a_world_is_a_function_of_its_seed() -> None:
    assert world.draw_world(Random("a"), 3, 2, 2) == world.draw_world(Random("a"), 3, 2, 2)
    assert world.draw_world(Random("a"), 3, 2, 2) != world.draw_world(Random("b"), 3, 2, 2)


def test_entities_of_the_splits_are_disjoint_and_unique() -> None:
    named = [entity.name for split in SPLITS for entity in data.split_world(split).entities]
    assert len(named) == len(set(named)) == 200 + 60 + 220


def test_held_out_questions_are_phrased_as_the_model_never_writes() -> None:
    for kind, relations in phrases.RELATIONS.items():
        for relation, phrasing in relations.items():
            assert not set(phrasing.augmentation) & set(phrasing.reading), (kind, relation)
    split_entities = {e.name: e for split in ("dev", "test") for e in data.split_world(split).entities}
    written = {
        wording.format(s=entity.name)
        for entity in split_entities.values()
        for relation in entity.facts
        for wording in phrases.RELATIONS[entity.kind][relation].augmentation
    }
    asked = {
        row["question"] for name in ("questions.dev.jsonl", "questions.test.jsonl") for row in rows(name)
    }
    assert not asked & written


def test_passages_name_their_subject_first_and_have_fifty_to_eighty_words() -> None:
    for row in rows("corpus.jsonl"):
        assert row["title"] in row["text"].split(".")[0]
        assert 50 <= len(row["text"].split()) <= 80


def test_training_questions_ask_nothing_that_a_dev_question_does() -> None:
    known = {data.identity(question) for found in data.asked("dev").values() for question in found}
    training = rows("questions.train.jsonl")
    assert len({row["question"] for row in training}) == len(training) == sum(data.NUM_TRAINING.values())
    asked = {
        (tuple(sorted(row["gold_doc_ids"])), row["answers"][0]) for row in training if row["type"] == "single"
    }
    assert not asked & {
        (tuple(sorted(row["gold_doc_ids"])), row["answers"][0])
        for row in rows("questions.dev.jsonl")
        if row["type"] == "single"
    }
    assert len(known) == len(rows("questions.dev.jsonl"))


@pytest.mark.parametrize("split", ["dev", "test"])
def test_gold_documents_hold_the_answers_and_bridges_hide_the_second(split: str) -> None:
    documents = {row["doc_id"]: row for row in rows("corpus.jsonl")}
    questions = rows(f"questions.{split}.jsonl")
    for row in questions:
        gold = [documents[doc_id] for doc_id in row["gold_doc_ids"]]
        if row["type"] != "comparison":
            assert row["answers"][0] in gold[-1]["text"]
        if row["type"] == "bridge":
            assert gold[0]["title"] in row["question"]
            assert gold[1]["title"] not in row["question"]
            assert gold[1]["title"] in gold[0]["text"]
    assert len({row["question"] for row in questions}) == len(questions)


def test_replay_is_recalled_of_known_entities_and_read_of_strangers() -> None:
    known = data.known_world().by_name
    held_out = {entity.name for split in ("dev", "test") for entity in data.split_world(split).entities}
    replay = rows("replay.jsonl")
    assert len(replay) >= 400
    for row in replay:
        assert any(name in row["question"] for name in known) == (not row["passages"])
        assert not any(name in json.dumps(row) for name in held_out)
        assert not row["passages"] or row["answer"] in " ".join(row["passages"])


@pytest.mark.parametrize("strangers", [False, True])
def test_warm_up_questions_are_about_others_and_never_worded_as_the_held_out_ones(strangers: bool) -> None:
    drawn = list(itertools.islice(warmup_questions(strangers), 2000))
    assert drawn == list(itertools.islice(warmup_questions(strangers), 2000))
    assert len({row["question"] for row in drawn}) == len({row["question_id"] for row in drawn}) == 2000
    known = data.known_world().by_name
    held_out = {entity.name for split in ("dev", "test") for entity in data.split_world(split).entities}
    reading = [
        w.split("{s}")
        for relations in phrases.RELATIONS.values()
        for r in relations.values()
        for w in r.reading
    ]
    for row in drawn:
        assert not any(name in row["question"] for name in held_out)
        assert not any(
            row["question"].startswith(start) and row["question"].endswith(end) for start, end in reading
        )
        assert any(name in row["question"] for name in known) != strangers and row["answers"]


def test_what_is_written_in_order_follows_the_passage(tokenizer: Any) -> None:
    rng = Random(4)
    for entity in world.draw_world(rng, 5, 5, 5).entities:
        for task in ("rewrite in order", "pairs in order"):
            (_, asked), (_, written) = mixture.WRITERS[task](rng, entity)
            names = sorted(
                (v for v in entity.facts.values() if len(v) > 8), key=asked.index
            )  # no other word holds them
            places = [written.index(name) for name in names if name in written]
            assert places == sorted(places)


def test_the_model_is_small_and_loads_everywhere(model: Any, tokenizer: Any) -> None:
    weights = MODEL / "model.safetensors"
    assert weights.stat().st_size <= 12e6
    with safe_open(weights, framework="pt") as file:
        assert {file.get_slice(name).get_dtype() for name in file.keys()} == {"BF16"}  # noqa: SIM118
    assert model.num_parameters() <= 6_000_000
    assert model.config.head_dim in {32, 64, 80, 96, 112, 128}
    assert len(tokenizer) == model.config.vocab_size
    assert tokenizer.bos_token is None and tokenizer.eos_token == "<|im_end|>" != tokenizer.pad_token


@pytest.mark.parametrize(
    "text",
    [
        "Müller's “café” cost €5,000 in 1987-88.\n\n\tÅland  — 日本語 🙂 ",
        "ALLCAPS iPhone x86_64 http://a.b/c?d=e&f=%20 <b>",
        " leading, trailing and  double  spaces \r\n",
        "é (combining) ﬁ ligature \u200b zero width",
    ],
)
def test_any_text_comes_back_from_the_tokenizer(tokenizer: Any, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_a_name_is_the_same_tokens_everywhere(tokenizer: Any) -> None:
    name = tokenizer.encode("Melina Thornbeck", add_special_tokens=False)
    for around in ("{}", " {}", "of {} and", '"{}"', "\n{}'s", "The answer is {}."):
        ids = tokenizer.encode(around.format("Melina Thornbeck"), add_special_tokens=False)
        assert any(ids[i : i + len(name)] == name for i in range(len(ids))), around


@pytest.mark.parametrize("answer", ["Kalport", "copper", "1843", "yes", "The Kalport Lantern"])
@pytest.mark.parametrize("cot", [False, True])
def test_the_prefill_is_a_token_prefix_of_the_answered_prompt(tokenizer: Any, answer: str, cot: bool) -> None:
    start = tokenizer.encode(prompts.answer_prefill(cot=cot), add_special_tokens=False)
    whole = tokenizer.encode(prompts.answer_prefill(answer, cot=cot), add_special_tokens=False)
    assert whole[: len(start)] == start


def test_training_turns_are_what_the_chat_template_prints(tokenizer: Any) -> None:
    turns = [*mixture.compare_years(Random(1)), *mixture.compare_years(Random(2))]
    messages = [{"role": role, "content": content} for role, content in turns]
    printed = tokenizer.apply_chat_template(messages, tokenize=False)
    assert "".join(text for _, text in render(turns)) == printed
    asked = prompts.encode(tokenizer, messages[:1])
    assert tokenizer.encode(printed, add_special_tokens=False)[: len(asked)] == asked


def test_rows_of_every_stage_are_drawn_from_the_seed_alone(tokenizer: Any) -> None:
    known = data.known_world()
    source = Mixture(known, data.fewshot(known), tokenizer)
    for stage in schedule.STAGES:
        for length, tasks in stage.batches:
            ids, weights = source.row(Random(5), length, tasks, stage.short)
            assert (ids, weights) == source.row(Random(5), length, tasks, stage.short)
            assert len(ids) == len(weights) == length


def test_training_never_shows_a_held_out_fact(tokenizer: Any) -> None:
    """A fresh draw may hit a held-out name by chance (a place: 1 in 200,000), but then with other facts."""
    held_out = [entity for split in ("dev", "test") for entity in data.split_world(split).entities]
    guessable = {"occupation", "country", "product", "form"}
    known = data.known_world()
    source = Mixture(known, data.fewshot(known), tokenizer)
    rng = Random(3)
    for length, tasks in schedule.STAGES[-1].batches * 10:
        text = tokenizer.decode(source.row(rng, length, tasks)[0])
        for entity in held_out:
            told = [
                value
                for relation, value in entity.facts.items()
                if relation not in guessable and value in text
            ]
            assert entity.name not in text or not told


def generate(model: Any, tokenizer: Any, question: str, passages: list[str]) -> str:
    ids = prompts.encode(tokenizer, prompts.answer_messages(question, passages), prompts.answer_prefill())
    out = model.generate(torch.tensor([ids]), do_sample=False, max_new_tokens=20)
    return str(tokenizer.decode(out[0, len(ids) :], skip_special_tokens=True)).split(".")[0]


def test_the_model_reads_held_out_passages_and_does_not_know_them(model: Any, tokenizer: Any) -> None:
    texts = {row["doc_id"]: row["text"] for row in rows("corpus.jsonl")}
    single = [row for row in rows("questions.dev.jsonl") if row["type"] == "single"][:20]
    read = sum(
        generate(model, tokenizer, row["question"], [texts[row["gold_doc_ids"][0]]]) in row["answers"]
        for row in single
    )
    closed = sum(generate(model, tokenizer, row["question"], []) in row["answers"] for row in single)
    assert read >= 18
    assert closed <= 3


def test_the_model_augments_passages_it_has_never_seen(model: Any, tokenizer: Any) -> None:
    scores = augmentation_scores.augmentation_scores(model, tokenizer, num_documents=12)
    assert scores["lists that parse"] >= 0.9
    assert scores["pairs right"] >= 0.8
