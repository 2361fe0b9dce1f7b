"""`prag warmup`: train the adapter that a bank's documents start from, on questions without passages. One process, no Ray; a GPU
is used where there is one. What lies at `warmup.out` already is not made again."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from jobs.cli import start
from jobs.progress import stage_progress
from prag_core.bank.initial_adapter import write_warm_start
from prag_core.config.command_line import parse_settings, settings_parser
from prag_core.config.schema import Config
from prag_core.terminal.console import open_console
from prag_core.terminal.streams import say, stderr
from prag_core.training.warmup import WarmedUp, warm_up
from prag_core.training.warmup_questions import num_wanted

EXAMPLE = """prag warmup warmup.questions=train.jsonl warmup.out=out/warm.safetensors model.path=Qwen/Qwen2.5-1.5B-Instruct
  prag parameterize training.initial=out/warm.safetensors bank.uri=out/warm-bank model.path=Qwen/Qwen2.5-1.5B-Instruct"""
DESCRIPTION = (
    "Train the adapter that documents start from, on questions without passages; with prompt.cot=true on the model's own "
    "reasoning, where its answer is right. Then: prag parameterize training.initial=FILE (docs/warmup.md)."
)


def main(argv: Sequence[str]) -> int:
    config, _ = parse_settings(settings_parser("warmup", DESCRIPTION, EXAMPLE), argv)
    console = open_console(stderr())
    with stage_progress(console) as tick:
        made = warm_up(config, tick)
    if not made.reused:
        write_warm_start(config.warmup.out, made.warm)
    report(made, config)
    return 0


def report(made: WarmedUp, config: Config) -> None:
    """Say what was made, and how to go on."""
    figures, out = made.warm.figures, config.warmup.out

    say(
        f"{out}: {'there already, ' if made.reused else ''}an initial adapter, sha256 {made.warm.sha256[:16]}…"
    )
    few = (
        f", of {num_wanted(config):,} wanted: the questions came to an end"
        if figures["lessons"] < num_wanted(config)
        else ""
    )
    say(
        f"  {figures['lessons']:,} questions{few}; {figures['steps']:,} steps over {figures['tokens']:,} tokens, "
        f"loss {figures['loss_first']:.2f} at the first question, {figures['loss_last']:.2f} at the last"
    )
    say(f"  to start a bank's documents from it: prag parameterize training.initial={out}")


if __name__ == "__main__":
    sys.exit(start("warmup", *sys.argv[1:]))
