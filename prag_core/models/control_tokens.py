"""Encode text whose control tokens count only where the chat template wrote them.

`<|im_end|>` inside a passage is ten characters of that passage, and must not end the user's turn. A control token is one that
the tokenizer marks as special, or that its chat template writes (`<think>`). Text without any is encoded by the tokenizer alone.

Where content holds one, a second tokenizer is made from the first: the same model, in which every control token has a spelling
that nobody can guess. Only those that the template wrote are respelled, so any other is plain text to it. The text is still
encoded as one, so that merges and blanks at the edges of the content are the tokenizer's own.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

from tokenizers import Tokenizer

from prag_core.errors import ModelError

CACHED_TOKENIZERS = 8  # one for each model that a process uses, and some for tests


def encode_text(tokenizer: Any, text: str, *, add_special_tokens: bool = False) -> list[int]:
    """Encode content: control tokens in it are plain text. `add_special_tokens` puts the tokenizer's own around it."""
    controls = control_tokens(tokenizer)
    if controls.are_in(text):
        return controls.encode(text, add_special_tokens=add_special_tokens)
    return list(tokenizer.encode(text, add_special_tokens=add_special_tokens))


def encode_rendered(
    tokenizer: Any, contents: Sequence[str], render: Callable[[Sequence[str]], str]
) -> list[int]:
    """Encode `render(contents)`, whose control tokens count unless they come from a content."""
    controls = control_tokens(tokenizer)
    if not any(controls.are_in(content) for content in contents):
        return list(tokenizer.encode(render(contents), add_special_tokens=False))
    rendered = render([controls.hide(content) for content in contents])
    return controls.encode(controls.show(controls.respell(rendered)))


def control_tokens(tokenizer: Any) -> ControlTokens:
    """Find the control tokens of a tokenizer under its present chat template."""
    return _control_tokens(tokenizer, str(tokenizer.chat_template), len(tokenizer))


@lru_cache(maxsize=CACHED_TOKENIZERS)
def _control_tokens(tokenizer: Any, template: str, size: int) -> ControlTokens:
    added = tokenizer.added_tokens_decoder.values()
    names = {token.content for token in added if token.special or token.content in template}
    return ControlTokens(tokenizer, frozenset(name for name in names if name.strip()))


@dataclass(frozen=True, eq=False)
class ControlTokens:
    """A tokenizer's control tokens, by name. Each has two more spellings: a secret one in place of the template's own, and a
    stand-in for those that a content holds while the template renders it."""

    tokenizer: Any
    names: frozenset[str]

    def are_in(self, text: str) -> bool:
        """Tell whether encoding `text` as it is could give a control token."""
        if any(first in text for first in self._first_characters) and any(
            name in text for name in self.names
        ):
            return True
        normalised = self._normalise(text) if self._normalise else text
        return normalised != text and any(name in normalised for name in self._normalised_names)

    def hide(self, content: str) -> str:
        """Put stand-ins for the control tokens of `content`, which a template treats like any word."""
        return _replaced(content, self._stand_ins)

    def show(self, text: str) -> str:
        """Put control tokens back for their stand-ins."""
        return _replaced(text, {stand_in: name for name, stand_in in self._stand_ins.items()})

    def respell(self, rendered: str) -> str:
        """Put the secret spellings for the control tokens of `rendered`."""
        return _replaced(rendered, self._secrets)

    def encode(self, text: str, *, add_special_tokens: bool = False) -> list[int]:
        """Encode a text in which only the secret spellings are control tokens."""
        return list(self._respelled.encode(text, add_special_tokens=add_special_tokens).ids)

    @cached_property
    def _first_characters(self) -> frozenset[str]:
        return frozenset(name[0] for name in self.names)

    @cached_property
    def _normalised_names(self) -> frozenset[str]:
        """Names that the tokenizer looks for in normalised text."""
        added = self.tokenizer.added_tokens_decoder.values()
        return frozenset(token.content for token in added if token.normalized) & self.names

    @cached_property
    def _normalise(self) -> Callable[[str], str] | None:
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        normalizer = getattr(backend, "normalizer", None)
        return normalizer.normalize_str if normalizer is not None and self._normalised_names else None

    @cached_property
    def _stand_ins(self) -> Mapping[str, str]:
        return self._spellings("\ue000", "\ue001")

    @cached_property
    def _secrets(self) -> Mapping[str, str]:
        return self._spellings("\ue002", "\ue003")

    def _spellings(self, begin: str, end: str) -> dict[str, str]:
        """Make a spelling of each, longest first, so that no name is taken for a part of a longer one."""
        ordered = sorted(self.names, key=lambda name: (-len(name), name))
        key = secrets.token_hex(8)
        return {name: f"{begin}{key}{number}{end}" for number, name in enumerate(ordered)}

    @cached_property
    def _respelled(self) -> Any:
        """Tokenizer whose control tokens have the secret spellings, and their own ids. Raises ModelError."""
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if backend is None:
            kind = type(self.tokenizer).__name__
            raise ModelError(
                f"a text contains a control token of the model ({', '.join(sorted(self.names)[:3])}, …), and {kind} cannot "
                "encode it as plain text; take the model's fast tokenizer (tokenizer.json)"
            )
        fields = json.loads(backend.to_str())
        fields |= {"truncation": None, "padding": None}
        for token in fields["added_tokens"]:
            token["content"] = self._secrets.get(token["content"], token["content"])
        _respell_vocabulary(fields["model"], self._secrets)
        respelled = Tokenizer.from_str(json.dumps(fields))
        moved = [n for n, s in self._secrets.items() if respelled.token_to_id(s) != backend.token_to_id(n)]
        if moved:
            raise ModelError(f"the tokenizer gives {moved[0]!r} another id when it is respelled")
        return respelled


def _respell_vocabulary(model: dict[str, Any], spellings: Mapping[str, str]) -> None:
    """Respell control tokens that are also pieces of the model's own vocabulary, where plain text would find them."""
    vocabulary = model["vocab"]
    if isinstance(vocabulary, list):  # Unigram: [piece, score]
        model["vocab"] = [[spellings.get(piece, piece), score] for piece, score in vocabulary]
    else:
        model["vocab"] = {spellings.get(piece, piece): number for piece, number in vocabulary.items()}
    if model.get("unk_token") in spellings:
        model["unk_token"] = spellings[model["unk_token"]]
    if "merges" in model:
        model["merges"] = [merge for merge in model["merges"] if not _makes_one_of(merge, spellings)]


def _makes_one_of(merge: str | Sequence[str], names: Iterable[str]) -> bool:
    left, right = merge.split(" ") if isinstance(merge, str) else merge
    return left in names or right in names or left + right in names


def _replaced(text: str, spellings: Mapping[str, str]) -> str:
    for name, spelling in spellings.items():
        if name in text:
            text = text.replace(name, spelling)
    return text
