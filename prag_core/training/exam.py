"""The exam of an adapter: it is asked its own document's questions, alone and without the passage.

A question counts as answered if greedy decoding would give the pair's answer, up to and with its full stop. Nothing need be
generated to tell: greedy decoding gives an answer exactly if each of its tokens is the likeliest after the prompt and the tokens
before it, so a pass over prompt and answer says it, for one question of each of N documents at once.

This is stricter than an evaluation's exact match, which forgives case and articles, and lets an answer end at a comma or a new
line as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor

from prag_core.config.schema import Prefill, PromptConfig
from prag_core.models.control_tokens import encode_text
from prag_core.models.lora import AdapterLayout
from prag_core.models.prompts import (
    answer_messages,
    answer_prefill,
    encode,
    encode_question,
    normalise_answer,
)
from prag_core.records import IGNORED, AdapterFactors, Augmentation, QAPair, Sample
from prag_core.training.cohort import LENGTH_MULTIPLE
from prag_core.training.kernels.blockwise_loss import likeliest
from prag_core.training.kernels.cpu_attention import short_attention
from prag_core.training.kernels.cpu_precision import fast_float32
from prag_core.training.kernels.stacked_lora import StackedLora
from prag_core.training.objectives import Batch, collate, label_states

Spellings = Sequence[
    Sample
]  # one prompt with each way of writing its answer in tokens; labels are on the answer


def exam_questions(
    augmentation: Augmentation, tokenizer: Any, prompt: PromptConfig, fewshot: Sequence[tuple[str, str]] = ()
) -> list[Spellings]:
    """Return every pair of a document as it is asked without passages, with its answer (`full_answer` with `prompt.cot`)."""
    return [_spellings(pair, tokenizer, prompt, fewshot) for pair in augmentation.qa_pairs]


def _spellings(
    pair: QAPair, tokenizer: Any, prompt: PromptConfig, fewshot: Sequence[tuple[str, str]]
) -> Spellings:
    """As published a prompt ends in "The answer is ", with its space, so an answer goes on without one. Where a tokenizer keeps a
    space with the word after it, training had other tokens there: prompt and answer are then encoded as one text. Either is
    right. With an aligned prefill an answer goes on as in training, and that is the only way."""
    answer = pair.full_answer if prompt.cot else pair.answer
    asked = encode_question(tokenizer, pair.question, (), prompt, fewshot)
    messages = answer_messages(pair.question, (), cot=prompt.cot, fewshot=fewshot)
    taught = encode(tokenizer, messages, answer_prefill(answer, cot=prompt.cot))
    shared = sum(
        1 for _ in takewhile(lambda tokens: tokens[0] == tokens[1], zip(asked, taught, strict=False))
    )
    tails = {tuple(taught[shared:]): None}
    if prompt.prefill is Prefill.published:
        tails = {tuple(encode_text(tokenizer, normalise_answer(answer))): None} | tails
    return tuple(Sample(asked + tail, (IGNORED,) * len(asked) + tail) for tail in tails)


def examine(
    model: Any,
    layout: AdapterLayout,
    adapters: Sequence[AdapterFactors],
    questions: Sequence[Sequence[Spellings]],
) -> list[float]:
    """Return the share of `questions[n]` that `adapters[n]` answers: all in one batch, each as if examined alone."""
    turns = [
        [(number, sample) for number, spellings in enumerate(asked) for sample in spellings]
        for asked in questions
    ]
    order = sorted(
        range(len(adapters)), key=lambda n: -len(turns[n])
    )  # who still has a turn is among the first rows
    parameter = next(model.parameters())
    device, multiple = parameter.device, LENGTH_MULTIPLE.get(parameter.device.type, 1)
    lora = StackedLora(layout, adapters[0], len(adapters), dtype=parameter.dtype, device=device)
    lora.load([adapters[n] for n in order])
    results: list[tuple[list[int], Tensor]] = []
    with torch.no_grad(), lora.attach(model), fast_float32(device), short_attention(model):
        for turn in range(len(turns[order[0]])):
            active = [n for n in order if turn < len(turns[n])]
            lora.activate(len(active))
            batch = collate([turns[n][turn][1] for n in active], device, multiple)
            results.append((active, _gives_answer(model, batch)))
    answered: list[set[int]] = [set() for _ in adapters]
    for turn, (active, right_n) in enumerate(results):
        for n in (n for n, right in zip(active, right_n.tolist(), strict=True) if right):
            answered[n].add(turns[n][turn][0])
    return [len(numbers) / len(asked) for numbers, asked in zip(answered, questions, strict=True)]


def _gives_answer(model: Any, batch: Batch) -> Tensor:
    """Tell, for each document of a batch, whether every labelled token is the likeliest one."""
    head = model.get_output_embeddings()
    likeliest_m = likeliest(label_states(model, batch)[-1], head.weight, head.bias)
    right_n = torch.ones(len(batch.token_ids_nt), dtype=torch.bool, device=likeliest_m.device)
    right_n[batch.document_m[likeliest_m != batch.targets_m]] = False
    return right_n
