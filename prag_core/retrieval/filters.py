"""Filters on metadata: conditions that a document must meet before anything is ranked or loaded.

`{"kind": "person", "year": [1999, 2000]}` allows a document whose `kind` is person and whose `year` is either. Fields are
those at the top level of a document's metadata; a list there has each of its items as a value. A field that no document has
allows nothing. Text, numbers and truth values differ (`"1"`, `1` and `true` are three values), 1 and 1.0 do not; null and nested
objects never match.

In an index, metadata is one column of terms, dictionary-encoded: a term is a field with one of its values. A filter over a
million documents is then a few passes over integers, some milliseconds.
"""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from prag_core.errors import ConfigError
from prag_core.identity import CANONICAL

TERMS = pa.large_list(pa.dictionary(pa.int32(), pa.large_string()))  # the metadata column of an index
EXPECTED = "expected text, a number, true or false, or a list of these"


@dataclass(frozen=True, slots=True)
class Filter:
    """Conditions that must all hold; `&` of two filters allows what both allow.

    A condition is terms of one field, of which a document must have at least one. They are sorted, so that equal filters compare
    equal.
    """

    conditions: frozenset[tuple[str, ...]]

    @classmethod
    def parse(cls, fields: Mapping[str, Any]) -> Filter:
        """Make a filter of `{field: value | [values]}`. Raises ConfigError naming a field whose value is of another type."""
        if not isinstance(fields, Mapping):
            raise ConfigError(
                f"filter {fields!r}: expected an object of fields and values, e.g. {{'kind': 'person'}}"
            )
        return cls(frozenset(_condition(name, value) for name, value in fields.items()))

    @classmethod
    def from_text(cls, conditions: Sequence[str]) -> Filter:
        """Make a filter of conditions as typed, see `read_conditions`."""
        return cls.parse(read_conditions(conditions))

    def __and__(self, other: Filter) -> Filter:
        return Filter(self.conditions | other.conditions)

    def allows(self, metadata: Mapping[str, Any]) -> bool:
        """Whether a document with this metadata meets every condition."""
        terms = set(terms_of(metadata))
        return all(not terms.isdisjoint(condition) for condition in self.conditions)


def read_conditions(conditions: Sequence[str]) -> dict[str, list[Any]]:
    """Parse conditions typed as `field=value` into the fields of a filter; several of one field are alternatives.

    Typed text has no type: `year=1999` matches both the text and the number. Raises ConfigError for a condition without `=`.
    """
    fields: dict[str, list[Any]] = {}
    for condition in conditions:
        name, equals, value = condition.partition("=")
        if not name or not equals:
            raise ConfigError(f"filter {condition!r}: expected field=value, e.g. kind=person")
        fields.setdefault(name, []).extend(_meanings(value))
    return fields


def _meanings(text: str) -> list[Any]:
    """The values that typed text may mean: the text, and the number or truth value that it spells."""
    try:
        value = json.loads(text)
    except ValueError:
        return [text]
    return [text, value] if _is_value(value) and value != text else [text]


def _condition(name: Any, value: Any) -> tuple[str, ...]:
    if not isinstance(name, str):
        raise ConfigError(f"filter {name!r}: a field's name is text")
    values = value if isinstance(value, list | tuple) else [value]
    if wrong := [v for v in values if not _is_value(v)]:
        raise ConfigError(f"filter {name!r}: {wrong[0]!r} ({type(wrong[0]).__name__}); {EXPECTED}")
    return tuple(sorted({_term(name, v) for v in values}))


def terms_of(metadata: Mapping[str, Any]) -> Iterator[str]:
    """Yield every term of a document: each field with each of its values."""
    for name, value in metadata.items():
        values = value if isinstance(value, list | tuple) else [value]
        yield from (_term(name, v) for v in values if _is_value(v))


def _is_value(value: Any) -> bool:
    return isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def _term(name: str, value: str | float) -> str:
    return CANONICAL.encode([name, int(value) if isinstance(value, float) and value.is_integer() else value])


class TermsBuilder:
    """Builder of a column of type TERMS, one document after another."""

    def __init__(self) -> None:
        self._codes: dict[str, int] = {}
        self._terms, self._ends = array("i"), array("q", [0])

    def add(self, metadata: Mapping[str, Any]) -> None:
        self._terms.extend(
            self._codes.setdefault(term, len(self._codes)) for term in dict.fromkeys(terms_of(metadata))
        )
        self._ends.append(len(self._terms))

    def finish(self) -> pa.LargeListArray:
        codes = pa.array(np.frombuffer(self._terms, np.int32), pa.int32())
        terms = pa.DictionaryArray.from_arrays(codes, pa.array(list(self._codes), pa.large_string()))
        return pa.LargeListArray.from_arrays(pa.array(np.frombuffer(self._ends, np.int64), pa.int64()), terms)


def select_rows(column: pa.LargeListArray, where: Filter) -> np.ndarray:
    """Select the rows of a TERMS column that a filter allows: bool [num_documents]."""
    terms, ends = column.values, column.offsets.to_numpy()
    codes = terms.indices.to_numpy()
    selected = np.ones(len(column), dtype=bool)
    for condition in where.conditions:
        wanted = pc.is_in(terms.dictionary, value_set=pa.array(condition, pa.large_string())).to_numpy(
            zero_copy_only=False
        )
        places = np.flatnonzero(wanted[codes]) if len(wanted) else np.zeros(0, np.int64)
        has_one = np.zeros(len(column), dtype=bool)
        has_one[np.searchsorted(ends, places, side="right") - 1] = True
        selected &= has_one
    return selected
