"""The options that every verb with settings shares: --config, --print-config, --help-settings and key=value overrides."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from enum import Enum
from typing import Any

from prag_core.config.load import load_config
from prag_core.config.schema import Config, as_yaml
from prag_core.config.setting import walk_settings

_MAKING = ("corpus", "bank", "model", "prompt", "augmentation", "training", "acceptance", "engine", "ray")
_ANSWERING = ("bank", "model", "prompt", "retrieval", "merge", "methods", "engine", "evaluate")
READS = {  # verb → the sections of settings that it reads; ablate and paper read all
    "plan": _MAKING,
    "parameterize": _MAKING,
    "narrow": ("corpus", "retrieval", "evaluate"),
    "warmup": ("model", "prompt", "training", "warmup", "engine"),
    "index": ("bank", "retrieval"),
    "ask": _ANSWERING,
    "evaluate": _ANSWERING,
    "calibrate": (*_ANSWERING, "calibrate"),
    "train-router": (*_ANSWERING, "router"),
    "serve": (*_ANSWERING, "serve", "ray"),
}


class _HelpSettings(argparse.Action):
    """Print the settings of the verb and exit, as --help does: nothing else has to be given."""

    def __init__(self, **options: Any) -> None:
        super().__init__(nargs=0, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        print(settings_help(parser.prog.removeprefix("prag ")), end="")
        parser.exit()


def settings_parser(verb: str, description: str, example: str, **positionals: str) -> argparse.ArgumentParser:
    """A parser with the verb's own positional arguments (name=help) and the shared options; verbs add theirs."""
    parser = argparse.ArgumentParser(
        prog=f"prag {verb}",
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, meaning in positionals.items():
        parser.add_argument(name, help=meaning)
    parser.add_argument(
        "--config",
        metavar="FILE",
        action="append",
        default=[],
        help="a YAML file of settings, applied after the recipe; again for another that is applied after it",
    )
    parser.add_argument(
        "--print-config",
        action="store_true",
        help="print every setting as this command resolves it, and stop",
    )
    parser.add_argument(
        "--help-settings",
        action=_HelpSettings,
        help="print the settings that this command reads, with default, range, choices and meaning, and stop",
    )
    parser.add_argument(
        "settings", nargs="*", metavar="key=value", help="settings, e.g. bank.uri=s3://bucket/bank"
    )
    return parser


def parse_settings(parser: argparse.ArgumentParser, argv: Sequence[str]) -> tuple[Config, argparse.Namespace]:
    """The resolved configuration and the verb's own options. With --print-config prints the former and exits 0."""
    options = parser.parse_intermixed_args(list(argv))
    config = load_config(options.settings, *options.config)
    if options.print_config:
        print(as_yaml(config), end="")
        raise SystemExit(0)
    return config, options


def settings_help(verb: str) -> str:
    """The settings that a verb reads: `name=default`, then on a line of its own the meaning and what is allowed."""
    sections = READS.get(verb)
    lines = []
    for setting in walk_settings(load_config()):
        default, description = setting.value, setting.description
        is_read = sections is None or setting.key.split(".")[0] in sections
        if description is None or not is_read:
            continue
        choices = (
            [choice.name for choice in type(default)] if isinstance(default, Enum) else description.choices
        )
        allowed = f"one of {', '.join(choices)}" if choices else description.range
        lines += [
            f"{setting.key}={plain(default)}",
            f"    {description.help}{f' ({allowed})' if allowed else ''}",
        ]
    return "\n".join(lines) + "\n"


def plain(value: object) -> object:
    """A default as users write it."""
    if isinstance(value, Enum):
        return value.name
    return "null" if value is None else value
