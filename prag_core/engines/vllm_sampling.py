"""Requests and outputs in vLLM's terms: how to sample, and what came of it."""

from __future__ import annotations

import math
from typing import Any

from prag_core.engines.base import Decoding, Generation, Sampling, finish_generation
from prag_core.engines.grammar import json_grammar
from prag_core.errors import EngineError


def sampling_params(sampling: Sampling, seed: int | None, *, growing: bool = False) -> Any:
    """For a request whose output comes once, whole; or, `growing`, at every step all that there is so far. Nothing of the model's
    own generation settings is in it."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

    schema = sampling.json_schema
    try:
        return SamplingParams(
            max_tokens=sampling.max_new_tokens,
            temperature=sampling.temperature,
            top_k=sampling.top_k if sampling.temperature > 0 else 0,
            seed=seed if sampling.temperature > 0 else None,
            stop=list(sampling.stop) or None,
            logprobs=0 if sampling.probabilities else None,  # of the chosen token alone
            detokenize=bool(sampling.stop),
            structured_outputs=None
            if schema is None
            else StructuredOutputsParams(grammar=json_grammar(schema)),
            output_kind=RequestOutputKind.CUMULATIVE if growing else RequestOutputKind.FINAL_ONLY,
        )
    except ValueError as error:
        raise EngineError(f"vLLM refuses how to sample: {error}") from error


def streaming_params(decoding: Decoding) -> Any:
    """For a request whose tokens come as they are made."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    greedy = decoding.temperature == 0
    return SamplingParams(
        max_tokens=decoding.max_new_tokens,
        temperature=decoding.temperature,
        top_p=1.0 if greedy else decoding.top_p,
        seed=None if greedy else decoding.seed,
        stop=list(decoding.stop) or None,
        presence_penalty=decoding.presence_penalty,
        frequency_penalty=decoding.frequency_penalty,
        detokenize=bool(decoding.stop),
        output_kind=RequestOutputKind.DELTA,
    )


def generation_of(output: Any, sampling: Sampling, tokenizer: Any) -> Generation:
    """The generation in vLLM's whole output of a request that was sampled as `sampling` says."""
    (completion,) = output.outputs
    ended = completion.finish_reason == "stop" and not isinstance(completion.stop_reason, str)
    token_ids = completion.token_ids[:-1] if ended else completion.token_ids
    probabilities = None
    if sampling.probabilities:
        steps = zip(
            token_ids, completion.logprobs, strict=False
        )  # one step more than tokens where the model ended
        probabilities = [math.exp(step[token].logprob) for token, step in steps]
    return finish_generation(tokenizer, token_ids, sampling.stop, ended=ended, probabilities=probabilities)
