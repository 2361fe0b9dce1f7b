"""Nested fields have dotted names, in order."""

from __future__ import annotations

from prag_core.config.full_names import flatten


def test_nested_fields_have_dotted_names_in_order_and_empty_mappings_are_values() -> None:
    nested = {"b": {"c": {"d": 1}, "e": [{"f": 2}]}, "a": {}, "g.h": None}
    assert list(flatten(nested).items()) == [("b.c.d", 1), ("b.e", [{"f": 2}]), ("a", {}), ("g.h", None)]
