"""Text in pieces is the text at once, however its tokens arrive, whatever they mean."""

from __future__ import annotations

import random
from types import SimpleNamespace

import pytest
from transformers import PreTrainedTokenizerBase

from prag_core.engines.base import finish_generation
from prag_core.engines.vllm_async import _GrowingText
from tests.prag_core.engines.conftest import byte_tokenizer
from tests.prag_core.models.tokenizers import STYLES


def grown(
    tokenizer: PreTrainedTokenizerBase, ids: list[int], stop: tuple[str, ...], seed: int
) -> tuple[list[str], str]:
    """The pieces, from chunks of random sizes, and the reason of the end."""
    text, rng, pieces = _GrowingText(tokenizer, stop), random.Random(seed), []
    while len(ids) > 4:
        size = rng.randint(1, 3)
        pieces.append(text.grow(SimpleNamespace(token_ids=ids[:size], finish_reason=None, stop_reason=None)))
        ids = ids[size:]
    pieces.append(text.grow(SimpleNamespace(token_ids=ids, finish_reason="length", stop_reason=None)))
    return [piece.text for piece in pieces], str(pieces[-1].finish)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("text", [" The river Eltis, 718 km", "Zoë 北京 🌊🌊 end", "a\n\n  b \n", "<b>1</b>"])
def test_pieces_joined_are_the_text(style: str, text: str) -> None:
    tokenizer = STYLES[style]()
    ids = tokenizer.encode(text, add_special_tokens=False)
    for seed in range(5):
        for stop in ((), ("km", "zz"), ("never",)):
            pieces, finish = grown(tokenizer, ids, stop, seed)
            whole = finish_generation(tokenizer, ids, stop, ended=False)
            assert ("".join(pieces), finish) == (whole.text, whole.finish)


def test_no_piece_ends_inside_a_character() -> None:
    tokenizer = byte_tokenizer()
    pieces, _ = grown(tokenizer, tokenizer.encode("🌊北京" * 3), (), 1)
    assert "\N{REPLACEMENT CHARACTER}" not in "".join(pieces)
    pieces, _ = grown(tokenizer, tokenizer.encode("ab🌊")[:-1], (), 1)
    assert "".join(pieces).startswith("ab"), "what is cut off inside a character ends in its replacement"


def test_a_thought_that_an_answer_begins_with_is_never_said() -> None:
    tokenizer = byte_tokenizer()
    tokenizer.add_tokens(["<think>", "</think>"])
    for said, answer in (("<think>Is it?</think>Rome is.", "Rome is."), ("<think>Is it? It is", "")):
        pieces, _ = grown(tokenizer, tokenizer.encode(said), (), 2)
        assert "".join(pieces) == answer
