"""IRCoT: reason a sentence, retrieve with it, and read at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prag_core.answering.registry import METHODS, Tools, find_method, most_documents
from prag_core.config.load import load_config
from prag_core.records import Answer, Question

Make = Callable[..., Tools]
QUESTION = Question("q", "Who wrote text 0?", ("Bo",))


def answer(tools: Tools, name: str = "ircot", *questions: Question) -> Answer:
    return find_method(name).answer(questions or [QUESTION], tools)[0]


def test_each_sentence_asks_for_the_next_passages_until_one_answers(make_tools: Make) -> None:
    tools = make_tools(
        ("Text 0 is by 3. And so on", "length", 1.0),
        (" It is 4.", "length", 1.0),
        (" So the answer is Bo. ", "length", 1.0),
        ("Bo.", "stop", 1.0),
    )
    found = answer(tools)
    assert found.text == "Bo."
    expected = ["Who wrote text 0?", "Text 0 is by 3.", "It is 4."]
    assert [made.query for made in found.rounds] == tools.source.queries == expected  # type: ignore[attr-defined]
    assert [passage.doc_id for passage in found.passages] == ["d0", "d3", "d4"]
    first, second, _, reader = (tools.engine.prompts(call)[0] for call in range(4))  # type: ignore[attr-defined]
    assert "Passage 1: text number 0\n" in first and "step by step" in first and "Passage 2" not in first
    assert second.endswith("Answer: Text 0 is by 3. ") and "Passage 2: text number 3\n" in second
    assert "Passage 3: text number 4\n" in reader and reader.endswith("The answer is ")


def test_generated_tokens_are_counted_with_what_was_thrown_away(make_tools: Make) -> None:
    script = [("Ada. And more", "length", 1.0), ("answer is Bo.", "stop", 1.0), ("Bo.", "stop", 1.0)]
    assert answer(make_tools(*script)).num_tokens == sum(len(text) for text, *_ in script)  # one token a byte


def test_reasoning_ends_with_the_models_own_end_and_after_so_many_sentences(make_tools: Make) -> None:
    ended = answer(make_tools(("It is 3.", "stop", 1.0), ("Bo.", "stop", 1.0)))
    assert len(ended.rounds) == 1
    endless = make_tools(*[("It is 3. ", "length", 1.0)] * 2, ("Bo.", "stop", 1.0), ircot_sentences=2)
    assert answer(endless).text == "Bo." and len(endless.engine.calls) == 3  # type: ignore[attr-defined]


def test_no_more_passages_are_collected_than_allowed(make_tools: Make) -> None:
    tools = make_tools(("It is 3 or 4 or 5. ", "length", 1.0), ("Bo.", "stop", 1.0), max_documents=2)
    assert [passage.doc_id for passage in answer(tools).passages] == ["d0", "d3"]


def test_a_batch_shares_its_rounds_and_a_question_that_is_done_waits_for_the_reader(make_tools: Make) -> None:
    tools = make_tools(
        ("The answer is 3.", "stop", 1.0),
        ("It is 4. ", "length", 1.0),
        ("The answer is 5.", "stop", 1.0),
        ("one", "stop", 1.0),
        ("two", "stop", 1.0),
    )
    answers = find_method("ircot").answer([QUESTION, QUESTION], tools)
    assert [found.text for found in answers] == ["one", "two"]
    assert [len(call) for call in tools.engine.calls] == [2, 1, 2]  # type: ignore[attr-defined]


def test_adapters_of_all_retrievals_are_merged_and_one_that_is_missing_is_text(make_tools: Make) -> None:
    tools = make_tools(
        ("It is 1 and 3. ", "length", 1.0), ("The answer is 3.", "stop", 1.0), ("Bo.", "stop", 1.0)
    )
    found = answer(tools, "ircot+prag")
    assert found.adapters == (("d0", 0), ("d3", 0)) and [key for key, _ in found.degraded] == [("d1", 0)]
    ranks = [call[0].adapter.rank for call in tools.engine.calls]  # type: ignore[attr-defined]
    assert ranks == [2, 4, 4]  # rank 2 a document
    assert all(call[0].adapter is None for call in _bare_calls(make_tools))


def _bare_calls(make_tools: Make) -> list[list[Any]]:
    tools = make_tools(("The answer is 3.", "stop", 1.0), ("Bo.", "stop", 1.0))
    answer(tools)
    return tools.engine.calls  # type: ignore[attr-defined]


def test_passages_that_the_context_has_no_room_for_are_left_out_and_not_called_used(make_tools: Make) -> None:
    script = [("The answer is 3.", "stop", 1.0), ("Bo.", "stop", 1.0)]
    question = Question("q", "0 3 4?", ())
    roomy, tight = (make_tools(*script, max_new_tokens=64) for _ in range(2))
    assert len(answer(roomy, "ircot", question).passages) == 3
    enough = max(len(call[0].token_ids) for call in roomy.engine.calls) + 64  # type: ignore[attr-defined]
    tight.engine.max_length = len(roomy.engine.calls[1][0].token_ids) + 63  # type: ignore[attr-defined, misc]
    found = answer(tight, "ircot", question)
    assert len(found.passages) < 3 and len(found.rounds[0].passages) == 3
    assert found.shown == tuple(passage.key for passage in found.passages)
    roomy.engine.max_length, roomy.engine.script = enough, list(script)  # type: ignore[attr-defined, misc]
    assert len(answer(roomy, "ircot", question).passages) == 3


def test_the_engine_is_told_how_many_adapters_may_meet() -> None:
    config = load_config(["methods.max_documents=7"])
    assert most_documents([METHODS["rag"], METHODS["ircot+prag"]], config) == 7
    assert most_documents([METHODS["rag"], METHODS["ircot"]], config) == config.retrieval.top_k
