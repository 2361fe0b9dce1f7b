"""`prag keys`: add, list and remove API keys. A new key is printed once; the file keeps only its hash."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.table import Column

from cluster.keys.key_file import editing, load_keys, read_entries, read_entry, read_moment, write_entries
from cluster.keys.keys import Limits, make_key
from prag_core.errors import ConfigError
from prag_core.retrieval.filters import read_conditions
from prag_core.terminal.console import make_table, open_console
from prag_core.terminal.parser import Parser
from prag_core.terminal.streams import say, warn

LIMITS = {
    "requests_per_minute": "requests a minute",
    "tokens_per_minute": "tokens a minute",
    "concurrent": "concurrent requests",
}
EPILOG = """A running endpoint reads a changed file within a second.

examples:
  prag keys add keys.yaml --name acme --filter tenant=acme --requests-per-minute 60 --tokens-per-minute 20000
  prag keys ls keys.yaml
  prag keys rm keys.yaml acme"""


def main(argv: Sequence[str]) -> int:
    """Add, list or remove keys. Returns the exit code."""
    options = _parser().parse_args(list(argv))
    return int(options.act(Path(options.keys), options))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="prag keys",
        description="Add, list and remove API keys of the endpoint.",
        epilog=EPILOG,
    )
    verbs = parser.add_subparsers(metavar="add|ls|rm", required=True)
    add, ls, rm = (
        verbs.add_parser(name, help=meaning, description=meaning)
        for name, meaning in (
            ("add", "Make a key and print it. It cannot be shown again."),
            ("ls", "List the keys of a file. Nothing that is shown lets anyone use them."),
            ("rm", "Remove a key from a file."),
        )
    )
    for verb, act in ((add, add_key), (ls, list_keys), (rm, remove_key)):
        verb.add_argument(
            "keys", metavar="FILE", help="The key file: YAML, or JSON if its name ends in .json."
        )
        verb.set_defaults(act=act)
    add.add_argument("--name", required=True, help="The owner of the key.")
    add.add_argument(
        "--filter",
        metavar="FIELD=VALUE",
        action="append",
        default=[],
        help="Show this key only documents with this metadata. May be repeated.",
    )
    for field, shown in LIMITS.items():
        meaning = f"Allow N {shown}, at one ingress replica (default: no limit)."
        add.add_argument(f"--{field.replace('_', '-')}", metavar="N", type=int, help=meaning)
    add.add_argument(
        "--expires",
        metavar="WHEN",
        help="When the key expires: 2030-01-31 or 2030-01-31T12:00:00Z (default: never).",
    )
    rm.add_argument("key", metavar="ID|NAME", help="The key's id, or its name if only one key has it.")
    return parser


def add_key(path: Path, options: argparse.Namespace) -> int:
    limits = Limits(**{name: getattr(options, name) for name in LIMITS})
    conditions = {
        name: values[0] if len(values) == 1 else values
        for name, values in read_conditions(options.filter).items()
    }
    key, entry = make_key(options.name, limits, conditions, read_moment(options.expires, "--expires"))
    read_entry(entry, "prag keys add")
    with editing(path):
        entries = read_entries(path) if path.exists() else []
        write_entries(path, [*entries, entry])
    warn("This key is shown once and not stored:")
    say(key)
    return 0


def list_keys(path: Path, options: argparse.Namespace) -> int:
    load_keys(path)
    table = make_table(
        "id", "name", Column("limits", no_wrap=True), "documents", Column("expires", no_wrap=True)
    )
    for entry in read_entries(path):
        conditions, expires = entry.get("filter") or {}, read_moment(entry.get("expires"), str(path))
        note = " (expired)" if expires is not None and expires <= datetime.now(UTC) else ""
        table.add_row(
            entry["id"],
            entry["name"],
            "\n".join(f"{entry[name]:,} {shown}" for name, shown in LIMITS.items() if entry.get(name)),
            "\n".join(f"{name}: {value}" for name, value in conditions.items()),
            "" if expires is None else f"{expires:%Y-%m-%d %H:%M}{note}",
        )
    open_console().print(table)
    return 0


def remove_key(path: Path, options: argparse.Namespace) -> int:
    with editing(path):
        load_keys(path)
        entries = read_entries(path)
        named = [entry for entry in entries if entry["id"] == options.key]
        named = named or [entry for entry in entries if entry["name"] == options.key]
        if len(named) != 1:
            known = ", ".join(f"{entry['id']} ({entry['name']})" for entry in named or entries) or "none"
            raise ConfigError(
                f"{path}: {len(named) or 'no'} keys are called {options.key!r}; give one id of {known}"
            )
        write_entries(path, [entry for entry in entries if entry is not named[0]])
    say(f"{path}: removed {named[0]['id']} ({named[0]['name']})")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
