"""DA-RAG shows what augmentation wrote, as text."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from prag_core.answering.registry import Tools, find_method
from prag_core.records import Question

Make = Callable[..., Tools]
QUESTIONS = [Question("q", "Is it 3 or 4?", ("3",))]


@pytest.mark.parametrize(("name", "adapters"), [("da_rag", ()), ("da_rag+prag", (("d3", 0), ("d4", 0)))])
def test_a_passage_is_shown_with_its_rewrites_and_pairs(
    make_tools: Make, name: str, adapters: tuple[object, ...]
) -> None:
    tools = make_tools(("three.", "stop", 1.0))
    (answer,) = find_method(name).answer(QUESTIONS, tools)
    (prompt,) = tools.engine.prompts(0)  # type: ignore[attr-defined]
    written = "rewrite of d3\nQuestion: Which number?\nAnswer: 3\nQuestion: Which kind?\nAnswer: odd"
    assert (
        f"Passage 1: text number 3\n{written}\nPassage 2: text number 4\n\n\nQuestion: Is it 3 or 4?"
        in prompt
    )
    assert answer.adapters == adapters and answer.shown == (("d3", 0), ("d4", 0))
    assert [passage.text for passage in answer.passages] == ["text number 3", "text number 4"]  # as retrieved


def test_the_answer_says_what_was_retrieved_and_how_many_tokens_it_took(make_tools: Make) -> None:
    (answer,) = find_method("da_rag").answer(QUESTIONS, make_tools(("three.", "stop", 1.0)))
    assert [(made.query, [p.doc_id for p in made.passages]) for made in answer.rounds] == [
        ("Is it 3 or 4?", ["d3", "d4"])
    ]
    assert answer.num_tokens == len("three.")  # one token a byte


def test_a_passage_without_adapter_or_augmentation_is_text(make_tools: Make) -> None:
    tools = make_tools(("one.", "stop", 1.0))
    (answer,) = find_method("da_rag+prag").answer([Question("q", "Is it 1?", ("1",))], tools)
    assert answer.degraded == ((("d1", 0), "quarantined at augment: no JSON"),) and answer.adapters == ()
    assert "Passage 1: text number 1\nrewrite of d1" in tools.engine.prompts(0)[0]  # type: ignore[attr-defined]
