"""DRAGIN: retrieve for a word that the model was unsure of and that what follows leans on, asking with what it leant on itself.

Source: Su et al., ACL 2024; docs/methods.md. A word of a draft scores
    entropy (mean over its tokens, nats) × attention it gets (its tokens' sum) × 1 if it is a content word, else 0
where a token's attention is the last layer's greatest from any token of the draft, a mean over heads. With
`methods.dragin_scale`, as in the public code that the thresholds are of, attention is a word's share of its sentence's, times the
sentence's words. The first word above the threshold is looked up (query formulation by self-attention): the question and the
answer up to that word are read once more, and the content words before it that it attends to most, in their order, are the query.

Only the transformers engine can say what was attended to.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from prag_core.answering.base import Tools
from prag_core.answering.iterative.active import Doubt, Draft, answer_actively, observe
from prag_core.answering.iterative.spans import token_spans, tokens_in, word_spans
from prag_core.answering.iterative.state import Iterative, QuestionState
from prag_core.config.schema import Config, EngineKind, MethodsConfig
from prag_core.engines.base import AttentiveEngine, Request
from prag_core.errors import ConfigError, EngineError
from prag_core.models.control_tokens import encode_text
from prag_core.records import Answer, Question
from prag_core.retrieval.analyzer import is_content_word

PUBLISHED = {"2wiki": (0.8, 25), "hotpotqa": (1.2, 35)}  # threshold, words of a query
UNABLE = (
    "dragin reads attentions and full distributions, which vLLM does not give; set engine.kind=transformers"
)


@dataclass(frozen=True, kw_only=True)
class Dragin(Iterative):
    not_served: str | None = "it reads attentions, which vLLM, the endpoint's engine, does not give"

    def most_documents(self, config: Config) -> int:
        if config.engine.kind is not EngineKind.transformers:
            raise ConfigError(f"engine.kind={config.engine.kind.value}: {UNABLE}")
        return super().most_documents(config)

    @property
    def thresholds(self) -> tuple[str, ...]:
        return ("dragin_threshold",)

    def observe(self, threshold: str, questions: Sequence[Question], tools: Tools) -> list[float]:
        """Return the score of each answer's highest word."""
        engine = attentive(tools)

        def weigh(state: QuestionState, draft: Draft) -> list[float]:
            return [score for *_, score in scored_words(state, draft, 0, tools, engine)]

        weighed = observe(questions, tools, weigh, draft_tokens=tools.methods.dragin_tokens)
        return [max(each) for each in weighed if each]

    def answer(self, questions: Sequence[Question], tools: Tools) -> list[Answer]:
        judge = partial(find_doubt, tools=tools, engine=attentive(tools))
        ahead = tools.methods.dragin_tokens
        return answer_actively(questions, tools, judge, merges=self.merges, draft_tokens=ahead)


def attentive(tools: Tools) -> AttentiveEngine:
    """Return the engine if it can read attentions, else raise EngineError."""
    if not isinstance(tools.engine, AttentiveEngine):
        raise EngineError(UNABLE)
    return tools.engine


def find_doubt(
    state: QuestionState, draft: Draft, first: int, tools: Tools, engine: AttentiveEngine
) -> Doubt | None:
    """Return the sentence, from `first` on, of the first word whose score is above the threshold, and the query for that word."""
    threshold, count = limits(tools.methods)
    for number, word, score in scored_words(state, draft, first, tools, engine):
        if score > threshold:
            return number, ask_attention(state, draft.text[: word[1]], count, tools, engine)
    return None


def scored_words(
    state: QuestionState, draft: Draft, first: int, tools: Tools, engine: AttentiveEngine
) -> Iterator[tuple[int, tuple[int, int], float]]:
    """Yield each word of the sentences from `first` on: its sentence, its place in the text, its score. Reads the draft once."""
    sentences = [_words_in(draft, span) for span in draft.sentences]
    if not any(sentences[first:]):
        return
    prompt = state.prompt
    reading = engine.read(Request((*prompt, *draft.token_ids), state.merge.adapter), len(prompt))
    attention_n = attention_received(reading.attention_hnt[:, :, len(prompt) :])
    for number in range(first, len(sentences)):
        tokens = [tokens_in(draft.tokens, word) for word in sentences[number]]
        content = [is_content_word(draft.text[slice(*word)]) for word in sentences[number]]
        scores = word_scores(
            reading.entropy_n, attention_n, tokens, content, scaled=tools.methods.dragin_scale
        )
        yield from ((number, word, score) for word, score in zip(sentences[number], scores, strict=True))


def limits(settings: MethodsConfig) -> tuple[float, int]:
    """Return the threshold of a word's score and the most words of a query: as set, by default as published."""
    threshold, count = PUBLISHED[settings.dataset]
    given = settings.dragin_threshold
    return (threshold if given is None else given), settings.dragin_query_words or count


def attention_received(attention_hnn: np.ndarray) -> np.ndarray:
    """What each token gets at most from any token: the maximum over queries (axis 1), then the mean over heads."""
    return attention_hnn.max(axis=1).mean(axis=0)


def word_scores(
    entropy_n: np.ndarray,
    attention_n: np.ndarray,
    words: Sequence[range],
    content: Sequence[bool],
    *,
    scaled: bool,
) -> list[float]:
    """Score each word of one sentence, given the tokens of each. A word without a token of its own scores 0."""
    entropy = [float(entropy_n[tokens].mean()) if tokens else 0.0 for tokens in words]
    attention = [float(attention_n[tokens].sum()) for tokens in words]
    scale = len(words) / sum(attention) if scaled and sum(attention) > 0 else 1.0
    return [h * a * scale * is_content for h, a, is_content in zip(entropy, attention, content, strict=True)]


def ask_attention(state: QuestionState, draft: str, count: int, tools: Tools, engine: AttentiveEngine) -> str:
    """Return the query for the last word of `draft`, from one reading of the question and the answer up to that word."""
    tokenizer = tools.engine.tokenizer
    said = tokenizer.decode(state.token_ids, skip_special_tokens=True)
    text = f"{state.question.question} {said}{draft}"
    token_ids = tuple(encode_text(tokenizer, text))[-tools.engine.max_length + 1 :]
    text, tokens = (
        tokenizer.decode(list(token_ids), skip_special_tokens=True),
        token_spans(tokenizer, token_ids),
    )
    *before, hit = word_spans(text)
    asking = tokens_in(tokens, hit)
    reading = engine.read(Request(token_ids, state.merge.adapter), max(asking.start, 1))
    attention_t = reading.attention_hnt.mean(axis=(0, 1))
    return attended_words(text, before, [tokens_in(tokens, word) for word in before], attention_t, count)


def attended_words(
    text: str, words: Sequence[tuple[int, int]], tokens: Sequence[range], attention_t: np.ndarray, count: int
) -> str:
    """Return the `count` content words that get most attention, in the order of the text; of equal ones the earlier."""
    content = [i for i, word in enumerate(words) if is_content_word(text[slice(*word)])]
    best = sorted(content, key=lambda i: -float(attention_t[tokens[i]].sum()))[:count]
    return " ".join(text[slice(*words[i])] for i in sorted(best))


def _words_in(draft: Draft, sentence: tuple[int, int]) -> list[tuple[int, int]]:
    return [
        (sentence[0] + start, sentence[0] + end) for start, end in word_spans(draft.text[slice(*sentence)])
    ]
