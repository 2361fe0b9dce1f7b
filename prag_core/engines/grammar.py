"""A JSON schema as the grammar that both engines decode under.

White space is fixed to what most text has: one line, a space after every comma and colon. Left free, weak models fill their
budget with blanks; forbidden altogether, a model is made to write JSON as it never saw it, and writes nonsense.
"""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any


def json_grammar(schema: dict[str, Any]) -> str:
    """The schema as an EBNF grammar of xgrammar. Properties are written in the schema's order."""
    return _compiled(json.dumps(schema))


@lru_cache(maxsize=64)
def _compiled(schema: str) -> str:
    import xgrammar

    return str(xgrammar.Grammar.from_json_schema(schema, any_whitespace=False, separators=(", ", ": ")))
