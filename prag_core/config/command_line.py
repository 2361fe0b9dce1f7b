"""The options that every verb with settings shares: --config, --print-config and key=value overrides."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from prag_core.config.load import load_config
from prag_core.config.schema import Config, as_yaml


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
