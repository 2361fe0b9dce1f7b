"""Fields are text, or whole numbers as text; anything else is an error that names the field."""

from __future__ import annotations

import pytest

from prag_core.errors import CorpusError
from prag_core.questions.fields import as_text, text_of, texts_of


@pytest.mark.parametrize(
    ("value", "text"),
    [("é", "é"), ("", ""), (7, "7"), (-1, "-1"), (True, None), (1.5, None), (None, None), ("\ud800", None)],
)
def test_text_and_whole_numbers_are_text(value: object, text: str | None) -> None:
    assert as_text(value) == text


def test_a_field_that_is_missing_blank_or_no_text_is_named() -> None:
    assert text_of({"a": 3}, "a", "f line 1") == "3"
    for value, shown in ((None, "missing"), (" ", '" "'), ([1], r"\[1\]")):
        with pytest.raises(CorpusError, match=f"f line 1: a is {shown}; expected text that is not empty"):
            text_of({"a": value}, "a", "f line 1")


def test_a_field_of_texts_is_a_list_of_them() -> None:
    assert texts_of({"a": ["x", 3]}, "a", "f") == ("x", "3") and texts_of({"a": []}, "a", "f") == ()
    for value in ("x", None, [None], [["x"]]):
        with pytest.raises(CorpusError, match=r"f: a is .*; expected a list of texts"):
            texts_of({"a": value}, "a", "f")
