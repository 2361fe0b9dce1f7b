"""Benchmark of augmentation: tokens generated per second by the pipeline and by vLLM's own `LLM.chat` on the same prompts.

    python -m benchmarks.augment

The raw run gives vLLM every first request of the pipeline at once, with the same sampling and grammar. The pipeline also parses,
checks and asks again; all generated tokens count on both sides. Each runs twice, in the order pipeline, raw, raw, pipeline,
with the prefix cache emptied in between.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any

from benchmarks import machine
from benchmarks.documents import MINI, augmented_documents
from prag_core.augmentation.augment import augment_documents
from prag_core.augmentation.published import pairs_schema
from prag_core.config.schema import AugmentationConfig, EngineConfig, ModelConfig, PromptConfig
from prag_core.engines.base import Generation, Request, Sampling
from prag_core.engines.grammar import json_grammar
from prag_core.engines.vllm import VllmEngine
from prag_core.models.prompts import qa_messages, rewrite_messages
from prag_core.records import Document


class Counting:
    """An engine that counts the tokens it generates."""

    def __init__(self, engine: VllmEngine) -> None:
        self.engine, self.tokens = engine, 0
        self.tokenizer, self.max_length = engine.tokenizer, engine.max_length

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[Generation]:
        generations = self.engine.generate(requests, sampling)
        self.tokens += sum(len(generation.token_ids) for generation in generations)
        return generations

    def close(self) -> None:
        self.engine.close()


def through_pipeline(
    engine: VllmEngine, documents: Sequence[Document], settings: AugmentationConfig
) -> tuple[int, float]:
    """Augment the documents. Return the number of generated tokens and the seconds."""
    counting, start = Counting(engine), time.perf_counter()
    augment_documents(documents, counting, settings, PromptConfig(), "benchmark")
    return counting.tokens, time.perf_counter() - start


def raw(engine: VllmEngine, documents: Sequence[Document], settings: AugmentationConfig) -> tuple[int, float]:
    """Give the prompts of the pipeline to LLM.chat in one call. Return the number of generated tokens and the seconds."""
    from vllm import SamplingParams  # after the engine has set the variables that vLLM reads when imported
    from vllm.sampling_params import StructuredOutputsParams

    common: dict[str, Any] = {
        "max_tokens": settings.max_new_tokens,
        "temperature": settings.temperature,
        "top_k": settings.top_k,
        "detokenize": True,
    }
    grammar = StructuredOutputsParams(grammar=json_grammar(pairs_schema(settings.num_qa_pairs, None)))
    conversations = [rewrite_messages(d.text) for d in documents] + [qa_messages(d.text) for d in documents]
    sampling = [SamplingParams(seed=n, **common) for n in range(len(documents))]
    sampling += [SamplingParams(seed=n, structured_outputs=grammar, **common) for n in range(len(documents))]
    start = time.perf_counter()
    outputs = engine._llm.chat(conversations, sampling, use_tqdm=False)
    return sum(len(output.outputs[0].token_ids) for output in outputs), time.perf_counter() - start


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.augment", description=str(__doc__).split("\n\n")[0]
    )
    parser.add_argument("--documents", type=int, default=256)
    parser.add_argument("--model", default=str(MINI / "model"))
    options = parser.parse_args(argv)
    engine = VllmEngine(EngineConfig(), ModelConfig(path=options.model), layout=None, max_merged_rank=0)
    documents = [document for document, _ in augmented_documents(options.documents)]
    settings = AugmentationConfig()
    through_pipeline(engine, documents[:4], settings)
    done: dict[str, list[tuple[int, float]]] = {"pipeline": [], "LLM.chat": []}
    for name, work in (
        ("pipeline", through_pipeline),
        ("LLM.chat", raw),
        ("LLM.chat", raw),
        ("pipeline", through_pipeline),
    ):
        engine._llm.reset_prefix_cache()
        done[name].append(work(engine, documents, settings))
    engine.close()
    rates = {
        name: sum(tokens for tokens, _ in runs) / sum(seconds for _, seconds in runs)
        for name, runs in done.items()
    }
    rows = [
        [name, *(sum(parts) for parts in zip(*runs, strict=True)), rates[name]] for name, runs in done.items()
    ]
    machine.show(
        f"Augmentation, {machine.machine_name()}", ["", "tokens written", "seconds", "tokens/s"], rows
    )
    print(f"\npipeline / LLM.chat = {rates['pipeline'] / rates['LLM.chat']:.2f}")
    return {
        "documents": options.documents,
        "tokens_per_second": rates,
        "ratio": rates["pipeline"] / rates["LLM.chat"],
    }


if __name__ == "__main__":
    machine.save("augment", main())
