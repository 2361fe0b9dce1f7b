"""The control of warm-up: the start alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from prag_core.answering.one_round import encode_question
from prag_core.answering.registry import SERVED, Tools, find_method
from prag_core.config.schema import MergeConfig, WarmCount
from prag_core.merging import merge_adapters
from prag_core.records import Factors, Question
from tests.prag_core.answering.stand_ins import make_factors, version_of

QUESTION = Question("q", "Which of 0 and 2?", ("x",))
START = ("the start", {"m": Factors(np.ones((2, 3), np.float32), np.ones((4, 2), np.float32))})


def test_the_start_answers_alone_without_passages(make_tools: Callable[..., Tools]) -> None:
    tools = replace(make_tools(("Rome.", "stop", 1.0)), start=START)
    (answer,) = find_method("warm_only").answer([QUESTION], tools)
    ((request,),) = tools.engine.calls  # type: ignore[attr-defined]
    assert request.token_ids == encode_question(QUESTION.question, (), tools)
    delta = request.adapter.factors["m"].b @ request.adapter.factors["m"].a
    np.testing.assert_allclose(delta, tools.layout.scaling * START[1]["m"].b @ START[1]["m"].a)
    assert (answer.text, answer.adapters, answer.rounds) == ("Rome.", (), ())
    assert "warm_only" not in SERVED


def test_without_a_warm_start_it_is_closed_book(make_tools: Callable[..., Tools]) -> None:
    tools = make_tools(("Rome.", "stop", 1.0), ("Rome.", "stop", 1.0))
    for name in ("warm_only", "closed_book"):
        find_method(name).answer([QUESTION], tools)
    (alone,), (closed,) = tools.engine.calls  # type: ignore[attr-defined]
    assert alone == closed and alone.adapter is None


@pytest.mark.parametrize("warm", WarmCount)
def test_documents_are_merged_with_the_start_counted_as_asked(
    warm: WarmCount, make_tools: Callable[..., Tools]
) -> None:
    settings = MergeConfig(warm=warm)
    tools = replace(make_tools(("Rome.", "stop", 1.0)), start=START, merge=settings)
    find_method("prag").answer([QUESTION], tools)
    ((request,),) = tools.engine.calls  # type: ignore[attr-defined]
    adapters = [(version_of("d0"), make_factors(0)), (version_of("d2"), make_factors(2))]
    expected = merge_adapters(adapters, tools.layout, settings, [9.0, 7.0], START)
    assert request.adapter.name == expected.name
    assert request.adapter.rank == (6 if warm is WarmCount.once else 4)
