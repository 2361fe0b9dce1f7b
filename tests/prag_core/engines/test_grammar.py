"""The grammar takes the JSON that json.dumps writes, and nothing that breaks its schema."""

from __future__ import annotations

import json

import pytest
import xgrammar

from prag_core.augmentation.published import pairs_schema
from prag_core.engines.grammar import json_grammar

PAIR = {"question": "How long is it?", "answer": "718 km", "full_answer": "It is 718 km long, Zoë."}


@pytest.fixture(scope="module")
def compiler() -> xgrammar.GrammarCompiler:
    """Over a vocabulary of single bytes."""
    vocabulary = [bytes([byte]) for byte in range(256)] + [b"</s>"]
    return xgrammar.GrammarCompiler(
        xgrammar.TokenizerInfo(vocabulary, xgrammar.VocabType.RAW, stop_token_ids=[256]), max_threads=1
    )


def accepts(compiler: xgrammar.GrammarCompiler, bound: int | None, text: str) -> bool:
    matcher = xgrammar.GrammarMatcher(compiler.compile_grammar(json_grammar(pairs_schema(2, bound))))
    return all(matcher.accept_token(byte) for byte in text.encode()) and matcher.accept_token(256)


def dumps(*pairs: dict[str, str]) -> str:
    return json.dumps(pairs, ensure_ascii=False)


@pytest.mark.parametrize("bound", [None, 40])
def test_json_as_dumps_writes_it_is_taken_and_other_white_space_is_not(
    compiler: xgrammar.GrammarCompiler, bound: int | None
) -> None:
    text = dumps(PAIR, PAIR)
    assert accepts(compiler, bound, text)
    assert not accepts(compiler, bound, json.dumps([PAIR, PAIR], indent=1))
    assert not accepts(compiler, bound, text + "\n")


@pytest.mark.parametrize("bound", [None, 40])
def test_what_the_schema_forbids_is_not_taken(compiler: xgrammar.GrammarCompiler, bound: int | None) -> None:
    reordered = {name: PAIR[name] for name in ("answer", "question", "full_answer")}
    for wrong in (
        dumps(PAIR),
        dumps(PAIR, PAIR, PAIR),
        dumps(PAIR, reordered),
        dumps(PAIR, PAIR | {"more": ""}),
    ):
        assert not accepts(compiler, bound, wrong)


def test_strings_without_a_bound_may_hold_quotation_marks(compiler: xgrammar.GrammarCompiler) -> None:
    assert accepts(compiler, None, dumps(PAIR, PAIR | {"answer": 'the "Eltis" \\ river'}))


def test_a_bound_ends_a_string(compiler: xgrammar.GrammarCompiler) -> None:
    for length, fits in ((40, True), (41, False)):
        text = dumps(PAIR, PAIR | {"question": "x" * length})
        assert accepts(compiler, 40, text) is fits
        assert accepts(compiler, None, text)
