"""IRCoT: one sentence of reasoning, retrieval with that sentence, and so on; then a reader answers over all that was found.

Source: Trivedi et al., ACL 2023; docs/methods.md. It starts from the passages that the question
itself finds. A sentence that says "answer is" ends the reasoning, as does the model's own end, `methods.ircot_sentences` or
`methods.max_documents` collected passages. The reader asks the question anew, in the bank's own prompt, over the passages.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from prag_core.answering.base import Stopwatch, Tools
from prag_core.answering.iterative.spans import token_spans, tokens_in
from prag_core.answering.iterative.state import (
    ANSWERED,
    Iterative,
    QuestionState,
    answers,
    generate,
    reasoning,
    retrieve,
)
from prag_core.engines.base import Generation, Sampling
from prag_core.records import Answer, Question
from prag_core.text.sentences import sentence_spans


@dataclass(frozen=True, kw_only=True)
class IrCot(Iterative):
    """IRCoT; what it merges serves both the reasoning and the reader."""

    def answer(self, questions: Sequence[Question], tools: Tools) -> list[Answer]:
        clock = Stopwatch()
        states = [QuestionState(question) for question in questions]
        self._collect(states, [question.question for question in questions], tools, clock)
        sampling = Sampling(tools.methods.sentence_tokens, stop=("\n",))
        for _ in range(tools.methods.ircot_sentences):
            if not (running := [state for state in states if not state.done]):
                break
            drafts = generate(running, tools, clock, sampling, reasoning(tools.prompt))
            asking: list[QuestionState] = []
            queries: list[str] = []
            for state, draft in zip(running, drafts, strict=True):
                token_ids, text, last = _first_sentence(tools, draft)
                state.token_ids += token_ids
                state.done = last or ANSWERED in text.lower()
                if not state.done:
                    asking.append(state)
                    queries.append(text)
            self._collect(asking, queries, tools, clock)
        return self._read(states, tools, clock)

    def _collect(
        self, states: Sequence[QuestionState], queries: Sequence[str], tools: Tools, clock: Stopwatch
    ) -> None:
        """Retrieve, and show all that was collected. A question with as many documents as it may collect is done."""
        retrieve(states, queries, tools, clock, merges=self.merges)
        for state in states:
            state.passages = state.collected(tools.methods.max_documents)
            state.done = len(state.passages) >= tools.methods.max_documents

    def _read(self, states: Sequence[QuestionState], tools: Tools, clock: Stopwatch) -> list[Answer]:
        for state in states:
            state.token_ids = []  # the reader sees the passages, not the reasoning
        read = generate(states, tools, clock, Sampling(tools.max_new_tokens))
        for state, generation in zip(states, read, strict=True):
            state.token_ids = list(generation.token_ids)
        return answers(states, tools, clock)


def _first_sentence(tools: Tools, draft: Generation) -> tuple[list[int], str, bool]:
    """The tokens and the text of a draft's first sentence, and whether the model ended there."""
    (_, end), *more = sentence_spans(draft.text) or [(0, 0)]
    read = tokens_in(token_spans(tools.engine.tokenizer, draft.token_ids), (0, end)).stop
    text = draft.text[:end].strip()
    return list(draft.token_ids[:read]), text, not text or (not more and draft.finish == "stop")
