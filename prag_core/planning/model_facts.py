"""Facts about a language model that need no weights, and the longest passage that a recipe's models can take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prag_core.config.schema import Config
from prag_core.corpus.chunking import PassageLimit, token_budget
from prag_core.models.base_model import context_length, empty_model, load_tokenizer
from prag_core.models.source import model_digest
from prag_core.questions.examples import load_fewshot


@dataclass(frozen=True)
class ModelFacts:
    """A model's identity, tokenizer and shapes. `model` has modules and no weights."""

    digest: str
    tokenizer: Any
    model: Any

    @property
    def num_parameters(self) -> int:
        return sum(parameter.numel() for parameter in self.model.parameters())

    @property
    def num_layers(self) -> int:
        return int(self.model.config.get_text_config().num_hidden_layers)


def read_model_facts(path: str, revision: str | None = None) -> ModelFacts:
    """Read a model's config and tokenizer, and digest its files. Raises ModelError."""
    model, tokenizer = empty_model(path, revision), load_tokenizer(path, revision)
    return ModelFacts(model_digest(path, revision), tokenizer, model)


def passage_limit(config: Config, base: ModelFacts, writer: ModelFacts) -> PassageLimit:
    """Find the longest passage for base model and writing model. Raises ModelError where prompts leave no room."""
    fewshot = load_fewshot(config.prompt.fewshot)
    budgets = [
        token_budget(
            facts.tokenizer,
            context_length(facts.model, config.model.max_length),
            config.prompt,
            config.augmentation,
            fewshot if facts is base else (),  # worked examples are shown to the model that answers
        )
        for facts in ((base,) if writer is base else (base, writer))
    ]
    return PassageLimit(tuple(budgets), config.prompt.with_title)
