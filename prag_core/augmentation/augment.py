"""Documents → augmentations: a language model writes rewrites and question-answer pairs about every document.

`augmentation.method` says how: `published` asks for them as the reference does, `answer_first` asks a weak model for less at a
time, `cloze` makes pairs without one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prag_core.augmentation import questions
from prag_core.augmentation.answer_first import write_answer_first
from prag_core.augmentation.cloze import write_cloze
from prag_core.augmentation.published import write_published
from prag_core.augmentation.result import AugmentResult, Count
from prag_core.config.dump import as_dict
from prag_core.config.schema import AugmentationConfig, AugmentationMethod, Checks, PromptConfig
from prag_core.engines.base import Engine
from prag_core.identity import digest
from prag_core.models.prompts import TEMPLATES
from prag_core.records import Document

Write = Callable[[Sequence[Document], Engine, AugmentationConfig, PromptConfig, str, Count], AugmentResult]
METHODS: dict[AugmentationMethod, Write] = {
    AugmentationMethod.published: write_published,
    AugmentationMethod.answer_first: write_answer_first,
    AugmentationMethod.cloze: write_cloze,
}
# settings that do not change what is written; those of a method are in `method_fields`
NOT_WRITING = ("engine", "model", "max_attempts", "uri", "method", "checks", "echo_questions")


def augment_documents(
    documents: Sequence[Document],
    engine: Engine,
    settings: AugmentationConfig,
    prompt: PromptConfig,
    generator: str,
    count: Count = lambda _: None,
) -> AugmentResult:
    """Write rewrites and pairs about `documents`; `generator` (see `generator_identity`) is recorded with each result. After each
    attempt `count` gets the keys of the documents that need no other. Raises what the engine raises."""
    return METHODS[settings.method](documents, engine, settings, prompt, generator, count)


def generator_identity(model_digest: str, settings: AugmentationConfig) -> str:
    """Identify the writer: the model, the prompts, and the settings that change what is written."""
    writing = {name: value for name, value in as_dict(settings).items() if name not in NOT_WRITING}
    return digest([model_digest, TEMPLATES["rewrite"], TEMPLATES["qa"], writing | method_fields(settings)])


def method_fields(settings: AugmentationConfig) -> dict[str, object]:
    """What the method and the checks add to an identity: nothing for the published method that keeps what it wrote."""
    fields: dict[str, object] = {}
    if settings.checks is not Checks.count:
        fields["checks"] = settings.checks.value
    if settings.method is not AugmentationMethod.published:
        fields["method"] = settings.method.value
    if settings.method is AugmentationMethod.answer_first:
        fields |= {
            "templates": digest(questions.TEMPLATES),
            "echo_questions": settings.echo_questions,
        }
    return fields
