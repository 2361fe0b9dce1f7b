"""Train the miniature model from scratch on two cores.

    python -m examples.mini.train --out examples/mini/model

Promise: everything is drawn from the seed and the step number, so the command gives the same data every time, and a run
continues from its checkpoint as if it had not stopped.
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any

import torch
from torch import Tensor
from transformers import AutoConfig, AutoModelForCausalLM

from examples.mini import data, schedule
from examples.mini.mixture import Mixture
from examples.mini.scores import reading_scores
from examples.mini.tokenizer import train_tokenizer

SEED = 20
CONTEXT = 4096
VOCABULARY = 1536
MUON_RATE, ADAM_RATE = 4e-3, 3e-3
Batch = tuple[Tensor, Tensor]


def build_model(tokenizer: Any, seed: int) -> Any:
    """Make a Llama of 2.95 million parameters; heads of 64 so that vLLM runs it on a CPU too."""
    torch.manual_seed(seed)
    config = AutoConfig.for_model(
        "llama",
        vocab_size=VOCABULARY,
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=6,
        num_attention_heads=3,
        num_key_value_heads=3,
        head_dim=64,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    llama: Any = AutoModelForCausalLM
    return llama.from_config(config)


def build_optimizers(model: Any) -> list[torch.optim.Optimizer]:
    """Make the optimisers: Muon on the hidden matrices, AdamW on the embeddings and norms."""
    hidden = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    rest = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    muon = torch.optim.Muon(hidden, lr=MUON_RATE, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    adam = torch.optim.AdamW(rest, lr=ADAM_RATE, betas=(0.9, 0.95), weight_decay=0.0, fused=True)
    return [muon, adam]


def draw_batches(mixture: Mixture, step: int) -> list[Batch]:
    """Draw the micro-batches of a step: ids `[row, token]` and weights of the same shape."""
    stage = schedule.stage_at(step)
    rng = Random(f"train-{SEED}-{step}")
    batches = []
    for length, tasks in stage.batches:
        rows = [mixture.row(rng, length, tasks, stage.short) for _ in range(schedule.TOKENS // length)]
        batches.append(
            (torch.tensor([ids for ids, _ in rows]), torch.tensor([weights for _, weights in rows]))
        )
    return batches


def prefetch(mixture: Mixture, steps: range) -> Iterator[tuple[int, list[Batch]]]:
    """Draw the next step's batches while this one trains."""
    with ThreadPoolExecutor(1) as pool:
        pending = pool.submit(draw_batches, mixture, steps.start)
        for step in steps:
            batches = pending.result()
            pending = pool.submit(draw_batches, mixture, step + 1)
            yield step, batches
        pending.cancel()


def weighted_loss(model: Any, ids: Tensor, weights: Tensor) -> Any:
    """Compute the mean next-token loss under `weights`; causality makes a mask for the right padding unnecessary."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
    losses = torch.nn.functional.cross_entropy(
        logits.float().flatten(0, 1), ids[:, 1:].flatten(), reduction="none"
    )
    shifted = weights[:, 1:].flatten()
    return (losses * shifted).sum() / shifted.sum()


def train(mixture: Mixture, out: Path, stop: int, minutes_between: float, checkpoint: Path) -> None:
    model = build_model(mixture.tokenizer, SEED)
    optimizers = build_optimizers(model)
    base_rates = [optimizer.param_groups[0]["lr"] for optimizer in optimizers]
    start = load_checkpoint(checkpoint, model, optimizers)
    loss_of = torch.compile(weighted_loss, dynamic=False)
    began = saved = time.monotonic()
    tokens = 0
    print(f"{model.num_parameters():,} parameters, from step {start} to {stop}", flush=True)
    for step, batches in prefetch(mixture, range(start, stop)):
        factor = schedule.learning_rate(step)
        for optimizer, rate in zip(optimizers, base_rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate * factor
        losses = take_step(model, optimizers, loss_of, batches)
        tokens += len(batches) * schedule.TOKENS
        if step % 25 == 0:
            print(f"{step} loss {losses} tokens/s {tokens / (time.monotonic() - began):.0f}", flush=True)
        if time.monotonic() - saved > 60 * minutes_between or step == stop - 1:
            save_checkpoint(checkpoint, step + 1, model, optimizers)
            export(model, mixture.tokenizer, out)
            print(f"{step} {time.strftime('%H:%M')} {reading_scores(model, mixture)}", flush=True)
            saved = time.monotonic()


def take_step(
    model: Any,
    optimizers: list[torch.optim.Optimizer],
    loss_of: Callable[[Any, Tensor, Tensor], Any],
    batches: list[Batch],
) -> list[float]:
    losses = []
    for ids, weights in batches:
        loss = loss_of(model, ids, weights)
        (loss / len(batches)).backward()
        losses.append(round(loss.item(), 3))
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()
    return losses


def save_checkpoint(path: Path, step: int, model: Any, optimizers: list[torch.optim.Optimizer]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {"step": step, "model": model.state_dict(), "optimizers": [o.state_dict() for o in optimizers]}
    torch.save(state, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


def load_checkpoint(path: Path, model: Any, optimizers: list[torch.optim.Optimizer]) -> int:
    """Return the step to go on with: 0 without a checkpoint."""
    if not path.exists():
        return 0
    state: dict[str, Any] = torch.load(path)
    model.load_state_dict(state["model"])
    for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(saved)
    return int(state["step"])


def export(model: Any, tokenizer: Any, out: Path) -> None:
    """Save the model and the tokenizer in the Hugging Face format, in bf16."""
    halved = copy.deepcopy(model).to(torch.bfloat16)
    halved.save_pretrained(out)
    tokenizer.save_pretrained(out)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for the Hugging Face model")
    parser.add_argument("--checkpoint", type=Path, default=Path("checkpoints/mini.pt"))
    parser.add_argument("--stop", type=int, default=schedule.STAGES[-1].until, help="the step to end at")
    parser.add_argument("--minutes", type=float, default=5.0, help="between checkpoints")
    args = parser.parse_args()
    torch.set_num_threads(2)
    known = data.known_world()
    tokenizer = train_tokenizer(data.tokenizer_texts(known), VOCABULARY, CONTEXT)
    mixture = Mixture(known, data.fewshot(known), tokenizer)
    train(mixture, args.out, args.stop, args.minutes, args.checkpoint)


if __name__ == "__main__":
    main()
