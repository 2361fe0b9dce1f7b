"""Small tokenizers in the styles of the model families, and the miniature's own, each with a chat template of its family."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

MINIATURE = Path(__file__).parents[3] / "examples" / "mini" / "model"
TEXTS = [
    "You should answer the question by referring to the knowledge provided below and integrating your own knowledge.",
    "Passage 1: The river Eltis is 718 km long. It ends in the sea of Orm, north of Caldonia.\n\nQuestion: How long is it?",
    "The answer is Norland. system user assistant im_start im_end start_header_id end_header_id eot_id begin_of_text s INST",
]
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for message in messages %}<|start_header_id|>{{ message.role }}<|end_header_id|>\n\n"
    "{{ message.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
INSTRUCT = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message.role == 'assistant' %} {{ message.content | trim }}{{ eos_token }}"
    "{% else %}[INST] {{ message.content | trim }} [/INST]{% endif %}{% endfor %}"
)
QWEN3 = CHATML.replace(
    "assistant\n{% endif %}",
    "assistant\n{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}",
)
ALWAYS_THINKS = CHATML.replace("assistant\n{% endif %}", "assistant\n<think>\n{% endif %}")
LLAMA3_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|"
    r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def gpt2_style() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    _train_bytes(tokenizer, ["<|im_start|>", "<|im_end|>"])
    tokenizer.add_tokens([AddedToken("<think>", normalized=False), AddedToken("</think>", normalized=False)])
    return _wrapped(tokenizer, CHATML, eos_token="<|im_end|>")


def llama3_style() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(LLAMA3_WORDS), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    _train_bytes(tokenizer, [])
    begin = "<|begin_of_text|>"
    tokenizer.add_special_tokens([begin, "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"])
    number = tokenizer.token_to_id(begin)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A", special_tokens=[(begin, number)]
    )
    return _wrapped(tokenizer, LLAMA3, bos_token=begin, eos_token="<|eot_id|>")


def sentencepiece_style() -> PreTrainedTokenizerFast:
    """BPE over words that begin with ▁, the first of a text included, and bytes for what is unknown."""
    bytes_of = [f"<0x{byte:02X}>" for byte in range(256)]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(content=" ", left=1),
        ]
    )
    special = ["<unk>", "<s>", "</s>", *bytes_of]
    tokenizer.train_from_iterator(
        TEXTS, trainers.BpeTrainer(vocab_size=600, special_tokens=special, show_progress=False)
    )
    plain = Tokenizer.from_str(_without_added(tokenizer, bytes_of))
    return _wrapped(plain, INSTRUCT, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def unigram_style() -> PreTrainedTokenizerFast:
    """As T5 has it: control tokens are pieces of the model too, of the highest score."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    special = ["<unk>", "<s>", "</s>"]
    trainer = trainers.UnigramTrainer(
        vocab_size=160,
        special_tokens=special,
        unk_token="<unk>",
        show_progress=False,
        initial_alphabet=list("</>|[]\n"),
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return _wrapped(tokenizer, INSTRUCT, bos_token="<s>", eos_token="</s>", unk_token="<unk>")


def miniature() -> PreTrainedTokenizerBase:
    loaded: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(MINIATURE)
    return loaded


STYLES: dict[str, Callable[[], PreTrainedTokenizerBase]] = {
    "gpt2": gpt2_style,
    "llama3": llama3_style,
    "sentencepiece": sentencepiece_style,
    "unigram": unigram_style,
    "miniature": miniature,
}


def _train_bytes(tokenizer: Tokenizer, special: list[str]) -> None:
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS, trainer)


def _without_added(tokenizer: Tokenizer, names: list[str]) -> str:
    """The tokenizer's JSON with these tokens in its vocabulary alone."""
    fields = json.loads(tokenizer.to_str())
    fields["added_tokens"] = [token for token in fields["added_tokens"] if token["content"] not in names]
    return json.dumps(fields)


def _wrapped(tokenizer: Tokenizer, template: str, **special: Any) -> PreTrainedTokenizerFast:
    make: Any = PreTrainedTokenizerFast  # untyped
    fast: PreTrainedTokenizerFast = make(tokenizer_object=tokenizer, **special)
    fast.chat_template = template
    return fast
