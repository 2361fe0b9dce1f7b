"""A filter lets through what its conditions say, over one document and over a column of them alike."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prag_core.errors import ConfigError
from prag_core.retrieval.filters import TERMS, Filter, TermsBuilder, select_rows

ADA = {
    "kind": "person",
    "year": 1815,
    "alive": False,
    "tags": ["maths", "engines"],
    "born": {"place": "London"},
    "note": None,
}
VALUES = st.one_of(
    st.sampled_from(["a", "b", "1", "true", ""]),
    st.integers(-1, 2),
    st.sampled_from([0.5, 1.0]),
    st.booleans(),
)
FIELDS = st.sampled_from(["x", "y", 'z"', "ü"])
METADATA = st.dictionaries(
    FIELDS, st.one_of(VALUES, st.lists(VALUES, max_size=3), st.none(), st.just({"x": "a"}))
)


def column_of(*metadata: Any) -> pa.LargeListArray:
    builder = TermsBuilder()
    for fields in metadata:
        builder.add(fields)
    return builder.finish()


@pytest.mark.parametrize(
    ("fields", "allowed"),
    [
        ({"kind": "person"}, True),
        ({"kind": "place"}, False),
        ({"kind": ["place", "person"]}, True),
        ({"kind": []}, False),
        ({"kind": "person", "year": 1815}, True),
        ({"kind": "person", "year": 1816}, False),
        ({"year": 1815.0}, True),
        ({"year": "1815"}, False),
        ({"alive": False}, True),
        ({"alive": 0}, False),
        ({"tags": "engines"}, True),
        ({"tags": ["boats", "maths"]}, True),
        ({"tags": "boats"}, False),
        ({"nothing": "person"}, False),
        ({"born": "London"}, False),
        ({"born.place": "London"}, False),
        ({"note": "None"}, False),
        ({}, True),
    ],
)
def test_a_document_is_let_through_when_every_condition_holds(fields: dict[str, Any], allowed: bool) -> None:
    where = Filter.parse(fields)
    assert where.allows(ADA) is allowed
    assert select_rows(column_of({}, ADA, ADA), where).tolist() == [not fields, allowed, allowed]


@given(
    st.lists(METADATA, max_size=6),
    st.dictionaries(FIELDS, st.one_of(VALUES, st.lists(VALUES, max_size=3)), max_size=3),
)
def test_a_column_is_filtered_as_its_documents_are_one_by_one(
    metadata: list[dict[str, Any]], fields: dict[str, Any]
) -> None:
    where = Filter.parse(fields)
    assert select_rows(column_of(*metadata), where).tolist() == [where.allows(one) for one in metadata]


@given(METADATA, st.dictionaries(FIELDS, VALUES, max_size=2), st.dictionaries(FIELDS, VALUES, max_size=2))
def test_two_filters_together_let_through_what_both_do(
    metadata: Any, one: dict[str, Any], other: dict[str, Any]
) -> None:
    both = Filter.parse(one) & Filter.parse(other)
    assert both.allows(metadata) == (
        Filter.parse(one).allows(metadata) and Filter.parse(other).allows(metadata)
    )


def test_a_wider_filter_cannot_widen_a_narrow_one() -> None:
    tenant, asked = Filter.parse({"tenant": "a"}), Filter.parse({"tenant": ["a", "b"]})
    assert (tenant & asked).allows({"tenant": "a"}) and not (tenant & asked).allows({"tenant": "b"})


def test_equal_filters_are_equal_however_they_are_written() -> None:
    assert Filter.parse({"x": [1, "a"], "y": True}) == Filter.parse({"y": True, "x": ["a", 1.0, 1]})
    assert hash(Filter.parse({"x": 1})) == hash(Filter.parse({"x": [1]})) != hash(Filter.parse({"x": "1"}))


@pytest.mark.parametrize(
    "value", [None, {"place": "London"}, [None], [["a"]], float("nan"), float("inf"), b"a"]
)
def test_a_value_of_another_type_is_refused_by_name(value: Any) -> None:
    with pytest.raises(
        ConfigError, match=r"filter 'born'.*expected text, a number, true or false, or a list"
    ):
        Filter.parse({"kind": "person", "born": value})


@pytest.mark.parametrize("fields", ["kind=person", ["kind"], None, {1: "a"}])
def test_what_is_no_object_of_fields_is_refused(fields: Any) -> None:
    with pytest.raises(ConfigError, match="filter"):
        Filter.parse(fields)


def test_typed_conditions_mean_text_and_number_alike() -> None:
    for fields in ({"year": 1999}, {"year": "1999"}, {"year": 1999.0}):
        assert Filter.from_text(["year=1999"]).allows(fields)
    assert Filter.from_text(["alive=true"]).allows({"alive": True})
    assert Filter.from_text(["name=a=b"]).allows({"name": "a=b"})
    assert Filter.from_text(["name="]).allows({"name": ""})
    either = Filter.from_text(["kind=person", "kind=place", "year=1"])
    assert either.allows({"kind": "place", "year": 1}) and not either.allows({"kind": "place", "year": 2})
    for wrong in ("kind", "=person", ""):
        with pytest.raises(ConfigError, match="expected field=value"):
            Filter.from_text([wrong])


def test_the_column_keeps_each_term_once() -> None:
    column = column_of(*[{"kind": "person", "id": i} for i in range(1000)])
    assert column.type == TERMS
    assert len(column.values.dictionary) == 1001
    assert select_rows(column, Filter.parse({"id": 7})).nonzero()[0].tolist() == [7]
    assert select_rows(column_of(), Filter.parse({"id": 7})).shape == (0,)
    assert not np.any(select_rows(column_of({}, {}), Filter.parse({"id": 7})))
