"""DRAGIN's decision rule on attentions and entropies made by hand, and what follows from it. A token is a byte here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from prag_core.answering.iterative.dragin import attended_words, attention_received, limits, word_scores
from prag_core.answering.iterative.spans import word_spans
from prag_core.answering.registry import METHODS, Tools, find_method, most_documents
from prag_core.config.load import load_config
from prag_core.config.schema import MethodsConfig
from prag_core.engines.base import Generation, Reading, Request, Sampling
from prag_core.errors import ConfigError, EngineError
from prag_core.records import Question

Make = Callable[..., Tools]
WORDS = [range(0, 2), range(2, 3), range(3, 4)]  # a word of two tokens, two of one


def test_a_token_gets_the_mean_over_heads_of_its_greatest_attention() -> None:
    one = [[1.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.25, 0.25, 0.5]]  # column maxima 1, .5, .5
    other = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.75, 0.25]]  # 1, 1, .25
    assert attention_received(np.array([one, other])).tolist() == [1.0, 0.75, 0.375]


def test_a_words_score_is_mean_entropy_times_summed_attention_if_it_is_a_content_word() -> None:
    entropy, attention = np.array([1.0, 3.0, 4.0, 0.5]), np.array([0.25, 0.25, 0.5, 1.0])
    plain = word_scores(entropy, attention, WORDS, [True, False, True], scaled=False)
    assert plain == [2.0 * 0.5, 0.0, 0.5 * 1.0]
    scaled = word_scores(entropy, attention, WORDS, [True, True, True], scaled=True)
    assert scaled == pytest.approx(
        [2.0 * 0.25 * 3, 4.0 * 0.25 * 3, 0.5 * 0.5 * 3]
    )  # shares .25 .25 .5 of three words


def test_the_query_has_the_most_attended_content_words_in_their_order() -> None:
    text = "Who was the son of Ada Bo"
    words, letters = word_spans(text), np.zeros(len(text))
    for word, attention in {"Who": 9.0, "was": 9.0, "son": 1.0, "Ada": 3.0, "Bo": 2.0}.items():
        letters[text.index(word)] = attention
    tokens = [range(*word) for word in words]
    assert attended_words(text, words, tokens, letters, 2) == "Ada Bo"
    assert attended_words(text, words, tokens, letters, 3) == "son Ada Bo"


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        (MethodsConfig(), (0.8, 25)),
        (MethodsConfig(dataset="hotpotqa"), (1.2, 35)),
        (MethodsConfig(dragin_threshold=0.0, dragin_query_words=3), (0.0, 3)),
    ],
)
def test_limits_are_the_published_ones_of_a_data_set_unless_set(
    settings: MethodsConfig, expected: tuple[float, int]
) -> None:
    assert limits(settings) == expected


class Attentive:
    """The scripted engine of `tools`, which reads even attention and is unsure, at entropy 1, of what is in capitals."""

    def __init__(self, tools: Tools) -> None:
        self.engine, self.tokenizer, self.max_length = (
            tools.engine,
            tools.engine.tokenizer,
            tools.engine.max_length,
        )
        self.read_texts: list[str] = []

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[Generation]:
        return self.engine.generate(requests, sampling)

    def read(self, request: Request, start: int) -> Reading:
        pieces = [self.tokenizer.decode([token]) for token in request.token_ids]
        self.read_texts.append("".join(pieces))
        entropy = np.array([float(piece.isupper()) for piece in pieces[start:]])
        return Reading(entropy, np.full((1, len(pieces) - start, len(pieces)), 1.0))

    def close(self) -> None: ...


def with_attention(tools: Tools) -> Tools:
    return replace(tools, engine=Attentive(tools))


def test_it_asks_with_the_content_words_before_the_doubtful_one_and_goes_on_from_its_sentence(
    make_tools: Make,
) -> None:
    script = [("Bo came. born 3 then to ADA later.", "stop", 1.0), ("born 5.", "stop", 1.0)]
    tools = with_attention(make_tools(*script))
    (found,) = find_method("dragin").answer([Question("q", "Who?", ())], tools)
    assert found.text == "Bo came. born 5."
    assert [(made.query, made.passages[0].doc_id) for made in found.rounds] == [("Bo came. born 3", "d3")]
    assert tools.engine.read_texts[1] == "Who? Bo came. born 3 then to ADA"  # type: ignore[attr-defined]
    assert "Passage 1: text number 3\n" in tools.engine.engine.prompts(1)[0]  # type: ignore[attr-defined]


def test_a_doubtful_stop_word_retrieves_nothing(make_tools: Make) -> None:
    tools = with_attention(make_tools(("bo was THE son.", "stop", 1.0), dragin_threshold=0.1))
    (found,) = find_method("dragin").answer([Question("q", "Who?", ())], tools)
    assert (found.text, found.rounds) == ("bo was THE son.", ())


def test_long_answers_are_drafted_in_pieces(make_tools: Make) -> None:
    tools = with_attention(make_tools(("bo came ", "length", 1.0), ("home.", "stop", 1.0), dragin_tokens=8))
    (found,) = find_method("dragin").answer([Question("q", "Who?", ())], tools)
    assert found.text == "bo came home."


def test_the_merged_adapters_are_read_with(make_tools: Make) -> None:
    script = [("ada 3 met BOB.", "stop", 1.0), ("bo 3. ADA", "stop", 1.0), ("no.", "stop", 1.0)]
    (found,) = find_method("dragin+prag").answer(
        [Question("q", "Who?", ())], with_attention(make_tools(*script))
    )
    assert found.text == "bo 3. no." and found.adapters == (("d3", 0),)
    assert len(found.rounds) == 2


def test_an_engine_without_attention_is_refused_with_what_to_set(make_tools: Make) -> None:
    for name in ("dragin", "dragin+prag"):
        with pytest.raises(ConfigError, match=r"engine\.kind=vllm.*engine\.kind=transformers"):
            most_documents([METHODS[name]], load_config([]))
    assert most_documents([METHODS["dragin+prag"]], load_config(["engine.kind=transformers"])) == 15
    with pytest.raises(EngineError, match=r"engine\.kind=transformers"):
        find_method("dragin").answer([Question("q", "Who?", ())], make_tools())


def test_what_the_threshold_is_compared_with_is_each_answers_highest_word(make_tools: Make) -> None:
    tools = with_attention(
        make_tools(("bo met ADA.", "stop", 1.0), ("the son.", "stop", 1.0), dragin_threshold=0.0)
    )
    method: Any = METHODS["dragin"]
    observed = method.observe(
        "dragin_threshold", [Question("q", "Who?", ()), Question("r", "Who?", ())], tools
    )
    # "ADA." is three capitals of four tokens, and has four of the nine tokens' even attention, times three words.
    assert observed == [pytest.approx(3 / 4 * 4 / 9 * 3), 0.0]
