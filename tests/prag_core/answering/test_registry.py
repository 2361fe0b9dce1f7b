"""What every method says of itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from prag_core.answering.registry import METHODS, SERVED, Tools, find_method, most_documents
from prag_core.config.load import load_config
from prag_core.config.schema import Prefill
from prag_core.errors import ConfigError
from prag_core.records import Question

CONTROL, LABELS, ATTENTION = "control", "labelled documents", "attentions"
FACTS: dict[str, tuple[str, bool, bool, str | None, tuple[str, ...]]] = {
    # kind, retrieves, merges, a word of why it is not served, thresholds
    "closed_book": ("one_round", False, False, None, ()),
    "rag": ("one_round", True, False, None, ()),
    "prag": ("one_round", True, True, None, ()),
    "combine": ("one_round", True, True, None, ()),
    "prag_irrelevant": ("one_round", True, True, CONTROL, ()),
    "warm_only": ("one_round", False, False, CONTROL, ()),
    "rag_gold": ("one_round", True, False, LABELS, ()),
    "prag_gold": ("one_round", True, True, LABELS, ()),
    "combine_gold": ("one_round", True, True, LABELS, ()),
    "da_rag": ("one_round", True, False, None, ()),
    "da_rag+prag": ("one_round", True, True, None, ()),
    "ircot": ("iterative", True, False, None, ()),
    "ircot+prag": ("iterative", True, True, None, ()),
    "flare": ("iterative", True, False, None, ("flare_threshold",)),
    "flare+prag": ("iterative", True, True, None, ("flare_threshold",)),
    "flare_lookahead": ("iterative", True, False, None, ("lookahead_act_below", "lookahead_blank_below")),
    "flare_lookahead+prag": ("iterative", True, True, None, ("lookahead_act_below", "lookahead_blank_below")),
    "dragin": ("iterative", True, False, ATTENTION, ("dragin_threshold",)),
    "dragin+prag": ("iterative", True, True, ATTENTION, ("dragin_threshold",)),
    "adaptive_rag": ("adaptive", True, True, None, ("router_confidence",)),
    "adaptive_rag+prag": ("adaptive", True, True, None, ("router_confidence",)),
    "adaptive_prag": ("adaptive", True, True, None, ("router_confidence",)),
}


def test_every_method_is_in_the_table() -> None:
    assert list(METHODS) == list(FACTS)
    assert list(SERVED) == [name for name, (*_, why, _) in FACTS.items() if why is None]


@pytest.mark.parametrize("name", FACTS)
def test_a_method_says_what_it_is(name: str) -> None:
    kind, retrieves, merges, why, thresholds = FACTS[name]
    method = METHODS[name]
    assert (method.name, method.kind, method.retrieves, method.merges) == (name, kind, retrieves, merges)
    assert method.thresholds == thresholds
    assert why in method.not_served if why and method.not_served else why is method.not_served


def test_the_engine_has_room_for_what_any_of_the_methods_may_merge() -> None:
    config = load_config(["methods.max_documents=7", "retrieval.top_k=2"])
    assert most_documents([METHODS["closed_book"]], config) == 2
    assert most_documents([METHODS["prag"], METHODS["flare"]], config) == 2
    assert most_documents([METHODS["prag"], METHODS["flare+prag"]], config) == 7


def test_an_unknown_method_names_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="did you mean combine"):
        find_method("combined")


SCRIPTED = [
    name
    for name, (kind, *_, why, _) in FACTS.items()
    if kind != "adaptive" and why not in (ATTENTION, LABELS)
]


@pytest.mark.parametrize("cot", [False, True])
@pytest.mark.parametrize("name", SCRIPTED)
def test_every_method_asks_with_an_aligned_prefill_and_leaves_its_blank_out_of_the_answer(
    name: str, cot: bool, make_tools: Callable[..., Tools]
) -> None:
    tools = make_tools(*[(" Ada, so the answer is Rome.", "stop", 1.0)] * 3, cot=cot)
    tools = replace(tools, prompt=replace(tools.prompt, prefill=Prefill.aligned))
    (answer,) = METHODS[name].answer([Question("q", "Where is 3?", ("Rome",))], tools)
    assert answer.text == "Ada, so the answer is Rome."
    calls = range(len(tools.engine.calls))  # type: ignore[attr-defined]
    prompts = [prompt for call in calls for prompt in tools.engine.prompts(call)]  # type: ignore[attr-defined]
    assert prompts and all(prompt.endswith(("The answer is", "Answer:")) for prompt in prompts)
    assert prompts[-1].endswith("Answer:" if cot else "The answer is")
