"""A model and a bank to measure answering on.

The model never ends an answer by itself, so that all are equally long. The bank has any number of documents with random
adapters, each retrieved by a name that no other document has.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks.documents import MINI
from benchmarks.models import SHAPES
from prag_core.bank import Bank, Stage
from prag_core.bank.tables import WANTED
from prag_core.config.schema import Config
from prag_core.identity import content_hash
from prag_core.models.lora import AdapterLayout
from prag_core.planning.recipe import prepare_recipe
from prag_core.records import Adapter, AdapterFactors, Document, Factors
from prag_core.retrieval import build_index

SHARD = 512  # documents in one object
SCALE_B = 1e-3  # of the random factors b: small enough that the model's text stays intact


@dataclass(frozen=True)
class Corpus:
    """A corpus whose documents are retrieved by their names: a question with three names retrieves those three documents."""

    num_documents: int
    passage_tokens: int

    @staticmethod
    def name(number: int) -> str:
        return f"subject{number:06d}"

    def question(self, numbers: tuple[int, ...]) -> str:
        return f"What do {', '.join(map(self.name, numbers))} have in common"


def make_model(name: str, folder: Path) -> Path:
    """Save the miniature model, or one of a real shape with random weights, with an end-of-sequence token it never writes."""
    if name == "mini":
        shutil.copytree(MINI / "model", folder)
    else:
        _save_shape(name, folder)
    for file in ("config.json", "generation_config.json"):
        fields = json.loads((folder / file).read_text()) if (folder / file).exists() else {}
        (folder / file).write_text(json.dumps(fields | {"eos_token_id": 0, "pad_token_id": 0}))
    tokenizer = folder / "tokenizer_config.json"
    tokenizer.write_text(json.dumps(json.loads(tokenizer.read_text()) | {"eos_token": "<|pad|>"}))
    return folder


def _save_shape(name: str, folder: Path) -> None:
    """Save a model of a real shape with the miniature tokenizer, filled up with invented words to the shape's vocabulary."""
    import torch  # slow to import, and only needed for shapes
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    auto: Any = AutoModelForCausalLM
    shape = dict(SHAPES[name])
    config = AutoConfig.for_model(
        shape.pop("model_type"), max_position_embeddings=8192, tie_word_embeddings=True, **shape
    )
    torch.manual_seed(0)
    auto.from_config(config, dtype=torch.bfloat16).save_pretrained(folder)
    tokenizer: Any = AutoTokenizer.from_pretrained(MINI / "model")
    tokenizer.add_tokens([f"~{n}~" for n in range(len(tokenizer), shape["vocab_size"])])
    tokenizer.save_pretrained(folder)


def make_bank(config: Config, corpus: Corpus) -> None:
    """Make a bank of the corpus, with its index, at `config.bank.uri`."""
    prepared = prepare_recipe(config)
    bank = Bank.create(config.bank.uri, prepared.recipe, prepared.layout, prepared.initial)
    passage = _passage(prepared.tokenizer, corpus.passage_tokens)
    few = [_factors(prepared.layout, seed) for seed in range(8)]
    wanted = []
    for start in range(0, corpus.num_documents, SHARD):
        numbers = range(start, min(start + SHARD, corpus.num_documents))
        documents = [Document(f"d{n:06d}", f"{corpus.name(n)}: {passage}") for n in numbers]
        shard = f"benchmark-{start:06d}"
        with bank.begin(Stage.adapters, shard, config.bank.tier.value) as writer:
            for n, document in zip(numbers, documents, strict=True):
                writer.add(
                    Adapter(
                        document.doc_id,
                        0,
                        content_hash(document),
                        few[n % len(few)],
                        steps=5,
                        tokens=700,
                        loss_first=2.0,
                        loss_last=1.0,
                    )
                )
            writer.commit([bank.write_documents(shard, documents)])
        wanted += [{"doc_id": d.doc_id, "chunk": 0, "content_hash": content_hash(d)} for d in documents]
    build_index(bank, bank.write_snapshot(pa.Table.from_pylist(wanted, WANTED)), config.retrieval)


def _passage(tokenizer: Any, num_tokens: int) -> str:
    """Join sentences of the miniature world, cut to `num_tokens` tokens."""
    with (MINI / "corpus.jsonl").open() as file:
        texts = [json.loads(line)["text"] for line in file]
    Random(0).shuffle(texts)
    tokens: list[int] = tokenizer.encode(" ".join(texts), add_special_tokens=False)[:num_tokens]
    return str(tokenizer.decode(tokens))


def _factors(layout: AdapterLayout, seed: int) -> AdapterFactors:
    draw = np.random.default_rng(seed).standard_normal
    return {
        name: Factors(0.1 * draw(a, dtype=np.float32), SCALE_B * draw(b, dtype=np.float32))
        for name, a, b in layout.shapes()
    }
