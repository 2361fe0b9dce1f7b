"""The miniature model's tokenizer: byte-level BPE that keeps names whole and any text intact.

Promises: every UTF-8 text comes back unchanged; a capitalised word is split off from the spaces around it and digits go in
chunks of two, so a name or number is the same tokens everywhere; a lower-case word carries the space after it, so a prompt
that ends in a space ("The answer is ") is a token prefix of the same prompt with an answer.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

START, END, PAD = "<|im_start|>", "<|im_end|>", "<|pad|>"
SPLIT = r"\p{Lu}\p{Ll}*|\p{Ll}+ ?|\p{N}{1,2}|[^\s\p{L}\p{N}]+ ?|\n+|[^\S\n]+"
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def train_tokenizer(texts: Iterable[str], vocab_size: int, context: int) -> Any:
    """Learn the merges from `texts`; `context` is the longest sequence the model takes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [AddedToken(token, special=True, normalized=False) for token in (PAD, START, END)]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    fast: Any = PreTrainedTokenizerFast
    return fast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        model_max_length=context,
        chat_template=CHAT_TEMPLATE,
        clean_up_tokenization_spaces=False,
    )


def render(messages: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return (role, text) of a finished conversation as the chat template prints it, cut so that each piece has one role.

    The generation prompt belongs to the user's piece; the assistant's begins with the answer and ends with the end marker.
    """
    pieces: list[tuple[str, str]] = []
    for role, content in messages:
        if role == "assistant":
            pieces.append((role, f"{content}{END}"))
            pieces.append(("user", "\n"))
        else:
            pieces.append((role, f"{START}{role}\n{content}{END}\n{START}assistant\n"))
    return pieces
