"""The options that every verb with settings shares: --config, --print-config, --help-settings and key=value overrides."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from prag_core.config.dump import as_typed, as_yaml
from prag_core.config.load import default_config, load_config
from prag_core.config.schema import Config
from prag_core.config.setting import walk_settings
from prag_core.terminal.parser import Parser
from prag_core.terminal.streams import say

_RECIPE = ("recipe", "model", "prompt", "augmentation", "training", "acceptance")
_ASKED = ("evaluate.questions", "evaluate.format")
_ANSWERING = ("recipe", "bank.uri", "model", "prompt.fewshot", "retrieval", "merge", "methods", "engine")
READS = {  # verb → the settings, and whole sections of them, that it reads; ablate and paper read all
    "plan": (*_RECIPE, "corpus", "bank"),
    "parameterize": (*_RECIPE, "corpus", "bank", "engine", "ray"),
    "narrow": ("recipe", "corpus", "retrieval", *_ASKED, "evaluate.type", "evaluate.limit"),
    "warmup": ("recipe", "model", "prompt", "training", "warmup", "engine"),
    "index": ("recipe", "bank.uri", "retrieval"),
    "ask": (*_ANSWERING, "evaluate.seed"),
    "evaluate": (*_ANSWERING, "evaluate"),
    "calibrate": (*_ANSWERING, *_ASKED, "evaluate.seed", "calibrate"),
    "train-router": (*_ANSWERING, *_ASKED, "evaluate.seed", "router"),
    "serve": (*_ANSWERING, "serve", "ray.address"),
}


class _HelpSettings(argparse.Action):
    """Print the settings of the verb and exit, as --help does: nothing else has to be given."""

    def __init__(self, **options: Any) -> None:
        super().__init__(nargs=0, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        say(settings_help(parser.prog.removeprefix("prag ")).rstrip())
        parser.exit()


def settings_parser(verb: str, description: str, example: str, **positionals: str) -> argparse.ArgumentParser:
    """A parser with the verb's own positional arguments (name=help) and the shared options; verbs add theirs."""
    parser = Parser(prog=f"prag {verb}", description=description, epilog=f"example:\n  {example}")
    for name, meaning in positionals.items():
        parser.add_argument(name, help=meaning)
    parser.add_argument(
        "--config",
        metavar="FILE",
        action="append",
        default=[],
        help="Read settings from a YAML file, applied after the recipe. May be repeated; later files win.",
    )
    parser.add_argument(
        "--print-config",
        action="store_true",
        help="Print every setting with the value that this command would use, and exit.",
    )
    parser.add_argument(
        "--help-settings",
        action=_HelpSettings,
        help="Describe the settings that this command reads: default, meaning, range and choices, and exit.",
    )
    parser.add_argument(
        "settings",
        nargs="*",
        metavar="key=value",
        help="A setting, such as bank.uri=s3://bucket/bank. It wins over files of settings.",
    )
    return parser


def parse_settings(parser: argparse.ArgumentParser, argv: Sequence[str]) -> tuple[Config, argparse.Namespace]:
    """The resolved configuration and the verb's own options. With --print-config prints the former and exits 0."""
    options = parser.parse_intermixed_args(list(argv))
    config = load_config(options.settings, *options.config)
    if options.print_config:
        say(as_yaml(config).rstrip())
        raise SystemExit(0)
    return config, options


def settings_help(verb: str) -> str:
    """The settings that a verb reads: `name=default`, then on a line of its own the meaning and what is allowed."""
    read = READS.get(verb)
    return "".join(
        f"{setting.key}={as_typed(setting.value)}\n    {setting.description.help} {_sentence(setting.expected)}\n"
        for setting in walk_settings(default_config())
        if read is None or setting.key in read or setting.key.split(".")[0] in read
    )


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}."
