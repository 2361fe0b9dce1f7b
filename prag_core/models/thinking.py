"""Keep a model from thinking aloud, and drop the thoughts of one that does.

Adapters are trained on answers without thoughts, and a rewrite must not be the model's reasoning about how to write one. So chat
templates are told not to open a thought, one that a template opens all the same is closed, empty, and what a model says up to its
last `</think>` is no part of its text.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

NOT_THINKING = {
    "enable_thinking": False,
    "thinking": False,
}  # the names in Qwen's templates, and in DeepSeek's and Granite's
OPEN, CLOSE = "<think>", "</think>"
EMPTY_THOUGHT = f"{OPEN}\n\n{CLOSE}\n\n"  # as Qwen's template writes it where thinking is off


class ThoughtTokens(NamedTuple):
    """Ids of `<think>` and `</think>`; None where the tokenizer has no such token."""

    open: int | None
    close: int | None


def close_open_thought(tokenizer: Any, prompt: str) -> str:
    """Close the thought that a rendered prompt ends in, if any."""
    stripped = prompt.rstrip()
    if OPEN in str(tokenizer.chat_template) and stripped.endswith(OPEN):
        return stripped.removesuffix(OPEN) + EMPTY_THOUGHT
    return prompt


@lru_cache(maxsize=8)
def thought_tokens(tokenizer: Any) -> ThoughtTokens:
    """Find the tokenizer's tokens around a thought."""
    added = tokenizer.get_added_vocab()
    return ThoughtTokens(added.get(OPEN), added.get(CLOSE))


def thought_length(tokenizer: Any, token_ids: Sequence[int]) -> int:
    """Count the tokens of an answer that are thought: those up to its last `</think>`, or all of a thought that does not end."""
    begin, end = thought_tokens(tokenizer)
    last = next((at for at in reversed(range(len(token_ids))) if token_ids[at] == end), None)
    if last is not None:
        return last + 1
    return len(token_ids) if token_ids and token_ids[0] == begin else 0
