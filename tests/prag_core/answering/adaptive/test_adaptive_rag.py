"""A router with weights made by hand sends questions to strategies; each strategy answers its own as one batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prag_core.answering.adaptive.linear import Linear
from prag_core.answering.adaptive.router import Router, save_router
from prag_core.answering.registry import METHODS, Tools, find_method, most_documents
from prag_core.config.load import load_config
from prag_core.errors import ConfigError
from prag_core.records import Question

Make = Callable[..., Tools]
ONE, TWO, NONE = (
    Question("q1", "Who wrote text 3?", ()),
    Question("q2", "Which text is by Bo or 4?", ()),
    Question("q3", "Is it so?", ()),
)


def router(
    folder: Path, *strategies: str, name: str = "adaptive_rag", retrieves: bool = False, recipe: str = ""
) -> str:
    """ "who" asks for the second strategy, "or" for the third, anything else for the first; likelihoods e ** 2 against 1."""
    words, size = ("who", "or"), len(strategies)
    weights = np.zeros((size, 2))
    weights[1, 0] = 2.0
    if size > 2:
        weights[2, 1] = 2.0
    bias = np.array([1.0] + [0.0] * (size - 1))
    linear = Linear(words, np.zeros(2), np.ones(2), tuple(range(size)), weights, bias, size)
    save_router(Router(strategies, linear, retrieves, recipe), str(folder), name)
    return str(folder)


def test_each_question_goes_where_the_router_says_in_one_call_a_strategy(
    make_tools: Make, tmp_path: Path
) -> None:
    folder = router(tmp_path, "closed_book", "rag", "ircot")
    script = [("bare", "stop", 1.0), ("read", "stop", 1.0), ("read too", "stop", 1.0)]
    tools = make_tools(*script, ("The answer is 4.", "stop", 1.0), ("reasoned", "stop", 1.0), router=folder)
    answers = find_method("adaptive_rag").answer([ONE, TWO, NONE, replace(ONE, question_id="q4")], tools)
    assert [answer.text for answer in answers] == [
        "read",
        "reasoned",
        "bare",
        "read too",
    ]  # in the order asked
    assert [answer.route for answer in answers] == ["rag", "ircot", "closed_book", "rag"]
    assert [len(call) for call in tools.engine.calls] == [1, 2, 1, 1]  # type: ignore[attr-defined]
    assert [[made.query for made in answer.rounds] for answer in answers[:3]] == [
        [ONE.question],
        [TWO.question],
        [],
    ]
    assert all("route" in answer.timings_ms for answer in answers)


def test_confidence_sends_questions_to_dearer_or_cheaper_strategies(make_tools: Make, tmp_path: Path) -> None:
    folder = router(tmp_path, "closed_book", "rag")
    # ONE: odds of rag against closed_book are e ** (2 - 1), so closed_book is enough with .27; NONE: e ** -1, with .73.
    for confidence, routes in (
        (None, ["rag", "closed_book"]),
        (0.25, ["closed_book"] * 2),
        (0.9, ["rag"] * 2),
    ):
        tools = make_tools(
            ("a", "stop", 1.0), ("b", "stop", 1.0), router=folder, router_confidence=confidence
        )
        assert [answer.route for answer in find_method("adaptive_rag").answer([ONE, NONE], tools)] == routes


def test_adapters_come_with_the_strategies(make_tools: Make, tmp_path: Path) -> None:
    folder = router(tmp_path, "closed_book", "prag", "combine", name="adaptive_prag")
    tools = make_tools(*[("x", "stop", 1.0)] * 3, router=folder)
    answers = find_method("adaptive_prag").answer([ONE, TWO, NONE], tools)
    assert [answer.adapters for answer in answers] == [(("d3", 0),), (("d4", 0),), ()]
    shown = [tools.engine.prompts(call)[0].count("Passage 1") for call in range(3)]  # type: ignore[attr-defined]
    assert shown == [0, 0, 1]  # closed book, prag, combine


def test_a_router_that_looks_at_retrieval_searches_once_and_says_so(make_tools: Make, tmp_path: Path) -> None:
    folder = router(tmp_path, "closed_book", "rag", retrieves=True)
    tools = make_tools(("bare", "stop", 1.0), ("read", "stop", 1.0), router=folder)
    answers = find_method("adaptive_rag").answer([ONE, NONE], tools)
    assert [answer.route for answer in answers] == ["rag", "closed_book"]
    assert tools.source.queries == [ONE.question, NONE.question]  # type: ignore[attr-defined]
    assert [[made.query for made in answer.rounds] for answer in answers] == [[ONE.question], [NONE.question]]


def test_a_router_of_another_recipe_is_refused(make_tools: Make, tmp_path: Path) -> None:
    tools = make_tools(router=router(tmp_path, "closed_book", "rag", recipe="another"))
    with pytest.raises(ConfigError, match=r"trained over a bank of recipe another.*prag train-router"):
        find_method("adaptive_rag").answer([ONE], tools)


def test_the_engine_must_do_what_the_strategies_ask(tmp_path: Path) -> None:
    config = load_config(
        [f"methods.router={router(tmp_path, 'closed_book', 'ircot+prag')}", "methods.max_documents=7"]
    )
    assert most_documents([METHODS["adaptive_rag"]], config) == 7
    router(tmp_path, "closed_book", "dragin")
    with pytest.raises(ConfigError, match=r"set engine\.kind=transformers"):
        most_documents([METHODS["adaptive_rag"]], config)
    router(tmp_path, "closed_book", "no_such_method")
    with pytest.raises(ConfigError, match=r"no_such_method.* is no method"):
        most_documents([METHODS["adaptive_rag"]], config)
    with pytest.raises(ConfigError, match="prag train-router --method adaptive_rag"):
        most_documents([METHODS["adaptive_rag"]], load_config())


def test_a_cached_one_asks_each_strategy_once_a_question(make_tools: Make, tmp_path: Path) -> None:
    tools = make_tools(
        ("bare", "stop", 1.0), ("read", "stop", 1.0), router=router(tmp_path, "closed_book", "rag")
    )
    method = METHODS["adaptive_rag"].cached()
    for confidence, text in ((0.01, "bare"), (1.0, "read"), (0.01, "bare"), (1.0, "read")):
        methods = replace(tools.methods, router_confidence=confidence)
        assert method.answer([ONE], replace(tools, methods=methods))[0].text == text


def test_what_its_threshold_is_compared_with(make_tools: Make, tmp_path: Path) -> None:
    tools = make_tools(router=router(tmp_path, "closed_book", "rag"))
    enough = METHODS["adaptive_rag"].observe("router_confidence", [ONE, NONE], tools)
    assert np.allclose(enough, [1 / (1 + np.e), 1 / (1 + 1 / np.e)])
