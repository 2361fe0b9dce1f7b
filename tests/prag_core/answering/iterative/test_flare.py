"""FLARE's decision rules on probabilities made by hand, and what follows from them. The tokenizer has one token a byte."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from prag_core.answering.iterative.active import Draft
from prag_core.answering.iterative.flare import AnyBelow, Flare, MeanDoubt, find_doubt
from prag_core.answering.registry import METHODS, Tools, find_method
from prag_core.config.schema import MethodsConfig
from prag_core.records import Answer, Question
from prag_core.text.sentences import sentence_spans

Make = Callable[..., Tools]
Line = tuple[str, str, list[float] | float]
QUESTION = Question("q", "Who is it 0?", ("Bo",))


def draft(*tokens: tuple[str, float]) -> Draft:
    """A draft of these tokens, each with its probability."""
    text, spans = "", []
    for piece, _ in tokens:
        spans.append((len(text), len(text + piece)))
        text += piece
    return Draft(
        tuple(range(len(tokens))), tuple(p for _, p in tokens), text, spans, sentence_spans(text), True
    )


def test_the_compared_rule_acts_on_a_sentences_mean_doubt_above_the_threshold() -> None:
    rule = MeanDoubt(0.1)
    assert not rule.doubts([1.0, 0.75, 1.0])  # mean (1 - p) = 0.25 / 3 = 0.083
    assert rule.doubts([1.0, 0.5, 1.0])  # 0.167
    assert not MeanDoubt(0.25).doubts([0.75, 0.75])  # at the threshold: not above it


def test_the_compared_query_is_the_sentence_without_its_doubtful_tokens() -> None:
    made = draft(
        ("Bo", 1.0),
        (" came.", 1.0),
        (" He", 0.95),
        (" died", 0.875),
        (" in", 1.0),
        (" 19", 0.5),
        ("12.", 0.25),
    )
    # Second sentence: doubts .05 .125 0 .5 .75, mean .285; " died", " 19" and "12." are above .1 alone.
    assert find_doubt(made, MeanDoubt(0.1), 0) == (1, "He in")
    assert find_doubt(made, MeanDoubt(0.3), 0) is None
    assert (
        find_doubt(made, MeanDoubt(0.1), 2) is None
    )  # a sentence that was just retrieved for is not looked at again


def test_the_first_published_rule_acts_on_any_token_and_blanks_only_the_unlikeliest() -> None:
    made = draft(("Bo", 0.9), (" came.", 0.81), (" He", 0.8), (" died", 0.41), (" in", 1.0), (" Rome.", 0.4))
    assert find_doubt(made, AnyBelow(0.8, 0.4), 0) == (1, "He died in")
    assert find_doubt(made, AnyBelow(0.3, 0.1), 0) is None


@pytest.mark.parametrize(
    ("settings", "threshold"),
    [
        (MethodsConfig(), 0.08),
        (MethodsConfig(dataset="hotpotqa"), 0.1),
        (MethodsConfig(flare_threshold=0.0), 0.0),
    ],
)
def test_thresholds_are_the_published_ones_of_a_data_set_unless_set(
    settings: MethodsConfig, threshold: float
) -> None:
    assert Flare(name="flare", look_ahead=False, merges=False).rule(settings) == MeanDoubt(threshold)


def sure(text: str, finish: str = "stop") -> tuple[str, str, float]:
    return text, finish, 1.0


def halves(first: str, second: str, finish: str = "stop") -> tuple[str, str, list[float]]:
    """A draft whose first part is sure and whose second is not, but for its digits."""
    return first + second, finish, [1.0] * len(first) + [1.0 if char.isdigit() else 0.25 for char in second]


def answer(tools: Tools, name: str = "flare") -> Answer:
    return find_method(name).answer([QUESTION], tools)[0]


@pytest.mark.parametrize("name", ["flare", "flare_lookahead"])
def test_a_sure_answer_retrieves_nothing(make_tools: Make, name: str) -> None:
    tools = make_tools(sure("Bo is it."))
    found = answer(tools, name)
    assert (found.text, found.rounds, found.passages) == ("Bo is it.", (), ())
    assert "Passage" not in tools.engine.prompts(0)[0]  # type: ignore[attr-defined]


def test_it_goes_on_from_the_sentence_it_was_not_sure_of_with_what_it_found(make_tools: Make) -> None:
    tools = make_tools(halves("Bo came. ", "Born 3."), sure("Born 5. So be it."))
    found = answer(tools)
    assert found.text == "Bo came. Born 5. So be it."
    assert [(made.query, [p.doc_id for p in made.passages]) for made in found.rounds] == [("3", ["d3"])]
    assert tools.engine.prompts(1)[0].endswith("The answer is Bo came. ")  # type: ignore[attr-defined]
    assert "Passage 1: text number 3\n" in tools.engine.prompts(1)[0]  # type: ignore[attr-defined]
    assert found.num_tokens == len("Bo came. Born 3." + "Born 5. So be it.")


def test_what_was_retrieved_for_stands_and_later_sentences_are_looked_at(make_tools: Make) -> None:
    unsure = halves("", "It is 3. Or is 4.")
    tools = make_tools(unsure, unsure, sure("No."))
    found = answer(tools)
    assert found.text == "It is 3. No."
    assert [made.query for made in found.rounds] == ["3", "4"]


def test_retrievals_are_bounded_and_then_the_draft_stands(make_tools: Make) -> None:
    unsure = halves("", "It is 3. Or is 4.")
    found = answer(make_tools(unsure, unsure, max_rounds=1))
    assert (found.text, len(found.rounds)) == ("It is 3. Or is 4.", 1)


def test_a_query_of_no_sure_token_is_the_question(make_tools: Make) -> None:
    found = answer(make_tools(halves("", "So."), sure("Bo.")))
    assert [made.query for made in found.rounds] == [QUESTION.question]


def test_looking_ahead_takes_one_sentence_at_a_time_and_forgets_the_passages(make_tools: Make) -> None:
    tools = make_tools(
        sure("Bo came. Then", "length"),
        halves("", "Born 3. And", "length"),
        sure("Born 5. Or 7.", "length"),
        sure("End."),
        lookahead_tokens=16,
    )
    found = answer(tools, "flare_lookahead")
    assert found.text == "Bo came. Born 5. End."
    assert [made.query for made in found.rounds] == ["3"]
    shown = ["Passage 1" in tools.engine.prompts(call)[0] for call in range(4)]  # type: ignore[attr-defined]
    assert shown == [False, False, True, False]
    assert {sampling.max_new_tokens for sampling in tools.engine.samplings} == {16}  # type: ignore[attr-defined]


def test_an_answer_has_no_more_tokens_than_asked_for(make_tools: Make) -> None:
    tools = make_tools(sure("abcdefgh. ijklm", "length"), max_new_tokens=12)
    found = answer(tools)
    assert (found.text, found.finish) == ("abcdefgh. ij", "length")
    assert answer(make_tools(sure("abcdefgh."))).finish == "stop"


@pytest.mark.parametrize(
    ("name", "script"),
    [
        ("flare", [halves("", "It is 3."), halves("", "It is 3. Or 1."), sure("No.")]),
        (
            "flare_lookahead",
            [halves("", "It is 3."), sure("It is 3. ", "length"), halves("", "Or 1."), sure("No.")],
        ),
    ],
)
def test_adapters_of_all_retrievals_stay_merged(make_tools: Make, name: str, script: list[Line]) -> None:
    tools = make_tools(*script)
    found = answer(tools, f"{name}+prag")
    assert found.adapters == (("d3", 0),) and [key for key, _ in found.degraded] == [("d1", 0)]
    used = [call[0].adapter is not None for call in tools.engine.calls]  # type: ignore[attr-defined]
    assert used == [False] + [True] * (len(used) - 1)
    assert "text number 1\n" in tools.engine.prompts(-1)[0]  # type: ignore[attr-defined]
    assert found.shown == (("d3", 0), ("d1", 0))  # each in the prompt that followed its retrieval


def test_each_question_of_a_batch_goes_its_own_way(make_tools: Make) -> None:
    tools = make_tools(sure("One."), halves("", "It is 3."), sure("Two."))
    answers = find_method("flare").answer([QUESTION, QUESTION], tools)
    assert [found.text for found in answers] == ["One.", "Two."]
    assert [len(call) for call in tools.engine.calls] == [2, 1]  # type: ignore[attr-defined]


def test_what_the_threshold_is_compared_with_is_each_answers_least_sure_sentence(make_tools: Make) -> None:
    tools = make_tools(
        ("Ab. Cd.", "stop", [0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]), ("Ef.", "stop", 0.75), flare_threshold=0.0
    )
    observed = METHODS["flare"].observe("flare_threshold", [QUESTION, replace(QUESTION)], tools)  # type: ignore[attr-defined]
    assert observed == [0.125, 0.25]  # "Ab. " has four tokens
    assert tools.source.queries == []  # type: ignore[attr-defined]


def test_looking_ahead_the_least_sure_token_and_then_every_doubtful_one(make_tools: Make) -> None:
    script = [("Ab. Cd.", "length", [0.5, 0.25, 1.0, 1.0, 0.1, 0.1, 0.1]), ("Cd.", "stop", 1.0)]
    seen = {}
    for threshold in ("lookahead_act_below", "lookahead_blank_below"):
        seen[threshold] = METHODS["flare_lookahead"].observe(threshold, [QUESTION], make_tools(*script))  # type: ignore[attr-defined]
    assert seen == {"lookahead_act_below": [0.25], "lookahead_blank_below": [0.5, 0.25]}
