"""The columns that a table of the bank must have: a valid Parquet file of another kind is damage, wherever it is read."""

from __future__ import annotations

import pyarrow as pa

from prag_core.bank import tables
from prag_core.errors import CorruptBankError

OF_KIND = {
    "documents": tables.DOCUMENTS,
    "augmentations": tables.AUGMENTATIONS,
    "adapters": tables.SCORED_ADAPTERS,
    "rows": tables.ROWS,
    "failures": tables.FAILURES,
}
LACKING = {
    "accepted": None,
    "score": None,
    "current": True,
    "left": None,
}  # what older tables mean without it


def schema_of(kind: str, name: str) -> pa.Schema:
    """The columns of a kind of data object. Raises CorruptBankError naming the object (`name`) if its kind has none."""
    if kind not in OF_KIND:
        raise CorruptBankError(f"{name} is named as a table and is none; run prag bank verify")
    return OF_KIND[kind]


def check_columns(found: pa.Schema, expected: pa.Schema, name: str) -> None:
    """Raise CorruptBankError, naming the object, unless it has the expected columns with their types, once each. It may have
    others, and lack those in LACKING."""
    for field in expected:
        places = found.get_all_field_indices(field.name)
        if not places and field.name in LACKING:
            continue
        types = [str(found.field(place).type) for place in places]
        if len(places) != 1 or _plain(found.field(places[0]).type) != _plain(field.type):
            says = f"{field.name} as {' and '.join(types)}" if types else f"no {field.name}"
            raise CorruptBankError(
                f"{name} is of another kind: it has {says}, expected {_plain(field.type)}; run prag bank verify"
            )


def conform(table: pa.Table, expected: pa.Schema, name: str) -> pa.Table:
    """Give a table that was read the expected columns, in their order. Raises what `check_columns` raises."""
    check_columns(table.schema, expected, name)
    columns = [
        table[field.name].cast(field.type)
        if field.name in table.column_names
        else pa.array([LACKING[field.name]] * table.num_rows, field.type)
        for field in expected
    ]
    return pa.Table.from_arrays(columns, schema=expected)


def _plain(kind: pa.DataType) -> pa.DataType:
    """A type as it is when nothing is encoded by a dictionary."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind
