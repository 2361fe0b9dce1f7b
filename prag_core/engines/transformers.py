"""The transformers engine: plain Hugging Face generation, adapters through PEFT. Slow, simple, the oracle of the other one.

Requests are batched by adapter and by length, left-padded. One PEFT adapter exists per rank seen (r = alpha = rank, so
that PEFT's scaling is 1); its weights are overwritten by the merged factors of the batch at hand.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from prag_core.config.schema import EngineConfig, ModelConfig
from prag_core.engines.adapter_check import ONE_TOKEN, inert, probe_requests
from prag_core.engines.base import (
    Generation,
    Reading,
    Request,
    Sampling,
    check_requests,
    finish_generation,
)
from prag_core.engines.grammar import json_grammar
from prag_core.engines.recovery import generating
from prag_core.merging import MergedAdapter
from prag_core.models.base_model import context_length, default_device, load_base_model
from prag_core.models.lora import AdapterLayout


class TransformersEngine:
    """See `make_engine`. `model` is the loaded causal LM."""

    def __init__(
        self, config: EngineConfig, model: ModelConfig, layout: AdapterLayout | None, max_merged_rank: int
    ) -> None:
        self.model, self.tokenizer = load_base_model(
            model.path, config.dtype, default_device(), model.revision
        )
        self.max_length = context_length(self.model, model.max_length)
        modules = self.adapted_modules()
        if layout is not None and not {m.name for m in layout.modules} <= set(modules):
            raise inert(layout, modules)
        self._layout, self._max_merged_rank = layout, max_merged_rank
        self._batch_size = config.max_sequences
        self._peft: Any = None
        self._grammars: dict[str, Any] = {}
        known = self.model.generation_config.eos_token_id
        from_model = known if isinstance(known, list) else [known]
        self._eos = sorted({i for i in (self.tokenizer.eos_token_id, *from_model) if i is not None})
        untyped: Any = GenerationConfig
        self.model.generation_config = (
            untyped()
        )  # what ours leaves open would be filled in from the model's own

    def generate(self, requests: Sequence[Request], sampling: Sampling) -> list[Generation]:
        """One generation a request, in order. Raises EngineError, before running anything if one cannot be served, and
        EngineDiedError."""
        check_requests(requests, self.max_length, self._layout, self._max_merged_rank)
        done: dict[int, Generation] = {}
        for places in self._batches(requests):
            batch = [requests[i] for i in places]
            with generating("transformers", self._probe), torch.no_grad(), self.adapted(batch[0].adapter):
                done.update(zip(places, self._generate_batch(batch, sampling), strict=True))
        return [done[i] for i in range(len(requests))]

    @contextmanager
    def adapted(self, adapter: MergedAdapter | None) -> Iterator[None]:
        """`model` runs with `adapter` inside the context, and bare outside of it (None: inside, too)."""
        if adapter is None:
            yield
            return
        name = f"rank{adapter.rank}"
        self._ensure_rank(name, adapter.rank)
        for module, (a, b) in adapter.factors.items():
            layer = self.model.get_submodule(module)
            layer.lora_A[name].weight.data.copy_(torch.from_numpy(a))
            layer.lora_B[name].weight.data.copy_(torch.from_numpy(b))
        self._peft.set_adapter(name)
        self._peft.base_model.enable_adapter_layers()
        try:
            yield
        finally:
            self._peft.base_model.disable_adapter_layers()

    def adapted_modules(self) -> list[str]:
        """See `AdaptableEngine`."""
        return [name for name, module in self.model.named_modules() if isinstance(module, torch.nn.Linear)]

    def read(self, request: Request, start: int) -> Reading:
        """See `AttentiveEngine`. Attention is computed eagerly for this pass: no other kind keeps its weights."""
        check_requests([request], self.max_length, self._layout, self._max_merged_rank)
        attentions: list[torch.Tensor] = []
        last = self.model.get_decoder().layers[-1].self_attn
        usual = self.model.config._attn_implementation  # private: transformers has a setter, and no getter
        self.model.set_attn_implementation("eager")
        hook = last.register_forward_hook(lambda _module, _inputs, output: attentions.append(output[1]))
        try:
            with torch.no_grad(), self.adapted(request.adapter):
                output = self.model(
                    torch.tensor([request.token_ids], device=self.model.device), use_cache=False
                )
        finally:
            hook.remove()
            self.model.set_attn_implementation(usual)
        log_p_nv = output.logits[0, start - 1 : -1].float().log_softmax(-1)
        entropy_n = torch.special.entr(log_p_nv.exp()).sum(-1)
        return Reading(entropy_n.cpu().numpy(), attentions[0][0, :, start:].float().cpu().numpy())

    def close(self) -> None:
        """Let go of the model's memory. The engine cannot be used afterwards."""
        self.model = self._peft = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _batches(self, requests: Sequence[Request]) -> Iterator[list[int]]:
        """Places of the requests of one adapter, at most a batch of them, shortest prompts first."""
        places: dict[str, list[int]] = defaultdict(list)
        for i, request in enumerate(requests):
            places[request.adapter.name if request.adapter else ""].append(i)
        for same in places.values():
            same.sort(key=lambda i: len(requests[i].token_ids))
            yield from (same[i : i + self._batch_size] for i in range(0, len(same), self._batch_size))

    def _probe(self) -> None:
        """Raise what the engine raises when it is broken."""
        for request in probe_requests(self.tokenizer, None):
            self._generate_batch([request], ONE_TOKEN)

    def _generate_batch(self, batch: Sequence[Request], sampling: Sampling) -> list[Generation]:
        longest = max(len(r.token_ids) for r in batch)
        input_nt = torch.full((len(batch), longest), self._eos[0] if self._eos else 0)
        mask_nt = torch.zeros_like(input_nt)
        for row, request in enumerate(batch):
            input_nt[row, longest - len(request.token_ids) :] = torch.tensor(request.token_ids)
            mask_nt[row, longest - len(request.token_ids) :] = 1
        limits = [min(sampling.max_new_tokens, self.max_length - len(r.token_ids)) for r in batch]
        output = self.model.generate(
            input_nt.to(self.model.device),
            attention_mask=mask_nt.to(self.model.device),
            generation_config=self._generation_config(max(limits), sampling),
            logits_processor=self._processors(batch, sampling),
            tokenizer=self.tokenizer,
            return_dict_in_generate=True,
            output_logits=sampling.probabilities,
        )
        new_nt = output.sequences[:, longest:]
        rows = _probabilities(output.logits, new_nt) if sampling.probabilities else [None] * len(batch)
        found = zip(new_nt.tolist(), rows, limits, strict=True)
        return [self._finish(token_ids[:limit], row, sampling) for token_ids, row, limit in found]

    def _finish(
        self, token_ids: list[int], probabilities: list[float] | None, sampling: Sampling
    ) -> Generation:
        end = next((at for at, token in enumerate(token_ids) if token in self._eos), None)
        return finish_generation(
            self.tokenizer, token_ids[:end], sampling.stop, ended=end is not None, probabilities=probabilities
        )

    def _generation_config(self, max_new_tokens: int, sampling: Sampling) -> Any:
        """Greedy; sampling happens in the last logits processor. Nothing but the end-of-sequence ids is the model's own."""
        untyped: Any = GenerationConfig
        return untyped(
            max_new_tokens=max_new_tokens,
            do_sample=False,
            eos_token_id=self._eos or None,
            pad_token_id=self._eos[0] if self._eos else 0,
            stop_strings=list(sampling.stop) or None,
        )

    def _processors(self, batch: Sequence[Request], sampling: Sampling) -> LogitsProcessorList:
        processors = LogitsProcessorList()
        if sampling.json_schema is not None:
            from xgrammar.contrib.hf import LogitsProcessor as GrammarProcessor

            processors.append(GrammarProcessor(self._grammar(sampling.json_schema)))
        if sampling.temperature > 0:
            processors.append(SeededSampling(sampling.temperature, sampling.top_k, [r.seed for r in batch]))
        return processors

    def _grammar(self, schema: dict[str, Any]) -> Any:
        """The schema's grammar, compiled for this vocabulary."""
        import xgrammar

        key = json_grammar(schema)
        if key not in self._grammars:
            vocabulary = xgrammar.TokenizerInfo.from_huggingface(
                self.tokenizer, vocab_size=self.model.config.vocab_size, stop_token_ids=self._eos
            )
            compiler = xgrammar.GrammarCompiler(vocabulary)
            self._grammars[key] = compiler.compile_grammar(key)
        return self._grammars[key]

    def _ensure_rank(self, name: str, rank: int) -> None:
        from peft import LoraConfig, PeftModel

        assert self._layout is not None  # check_requests refused the adapter otherwise
        if self._peft is not None and name in self._peft.peft_config:
            return
        config = LoraConfig(
            r=rank, lora_alpha=rank, target_modules=[m.name for m in self._layout.modules], lora_dropout=0.0
        )
        if self._peft is None:
            self._peft = PeftModel(self.model, config, adapter_name=name)
        else:
            self._peft.add_adapter(name, config)
        self._peft.eval()


def _probabilities(logits: Sequence[torch.Tensor], chosen_nt: torch.Tensor) -> list[list[float]]:
    """The softmax of each step's unprocessed logits ([n, vocabulary] a step) at the token that was chosen."""
    steps = zip(logits, chosen_nt.T, strict=True)
    chosen = [step.float().softmax(-1).gather(1, tokens[:, None].to(step.device)) for step, tokens in steps]
    return torch.cat(chosen, dim=1).tolist()


class SeededSampling(LogitsProcessor):
    """Makes the greedy choice after it a draw from softmax(scores / temperature) over the top_k tokens, by the Gumbel-max
    trick. Every row draws from its own generator, so a row's text does not depend on its neighbours. scores: [n, vocabulary]."""

    def __init__(self, temperature: float, top_k: int, seeds: Sequence[int | None]) -> None:
        self._temperature, self._top_k = temperature, top_k
        self._generators = [torch.Generator() for _ in seeds]
        for generator, seed in zip(self._generators, seeds, strict=True):
            _ = generator.seed() if seed is None else generator.manual_seed(seed)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        scores_nv = scores.float() / self._temperature
        if self._top_k:
            kth_n1 = scores_nv.topk(min(self._top_k, scores_nv.shape[-1])).values[:, -1:]
            scores_nv = scores_nv.masked_fill(scores_nv < kth_n1, float("-inf"))
        noise_nv = torch.stack(
            [torch.empty(scores_nv.shape[-1]).exponential_(generator=g) for g in self._generators]
        )
        return scores_nv - noise_nv.log().to(scores_nv.device)
