"""Features say how a question is worded and what it retrieves, not whom it is about nor how large the corpus is."""

from __future__ import annotations

import pytest

from prag_core.answering.adaptive.features import describe
from prag_core.records import Passage


def passage(title: str, score: float) -> Passage:
    return Passage(title, 0, title, "text", score)


def test_names_are_hidden_and_counted() -> None:
    bo, ada = describe("Where was Bo born?"), describe("Where was Ada Lovelace Byron born?")
    assert bo == ada
    assert {"where", "was", "#", "born", "where was", "was #", "# born"} == {
        name for name in bo if name[0] != ":"
    }
    assert describe("Who is older, Bo or Ada Byron?")[":names"] == 2


@pytest.mark.parametrize(
    ("question", "names"), [("Who wrote Iris?", 1), ("Iris is by whom?", 1), ("What is bread?", 0)]
)
def test_a_first_word_is_a_name_unless_it_is_a_stop_word(question: str, names: int) -> None:
    assert describe(question)[":names"] == names


def test_retrieval_is_seen_as_ratios_so_that_the_size_of_a_corpus_does_not_show() -> None:
    small = [passage("Ada Byron", 4.0), passage("Bo", 3.0), passage("Cy", 1.0)]
    large = [passage("Ada Byron", 40.0), passage("Bo", 30.0), passage("Cy", 10.0)]
    described = describe("Did Ada Byron meet Dee?", small)
    assert described == describe("Did Ada Byron meet Dee?", large)
    assert (described[":second"], described[":last"], described[":met"]) == (0.75, 0.25, 0.5)


def test_a_question_that_finds_nothing_or_says_nothing_has_features_too() -> None:
    assert describe("Who?", [])[":found"] == 0.0
    assert describe("???") == {":words": 0.0, ":names": 0.0}
