from __future__ import annotations

import numpy as np
import pytest

from prag_core.corpus import wordings
from prag_core.corpus.wordings import Wordings


@pytest.mark.parametrize("fewest", [1, 7, 1 << 16])
def test_it_agrees_with_a_dictionary(fewest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often the latest are merged into the arrays."""
    monkeypatch.setattr(wordings, "FEWEST", fewest)
    draw, seen, known = np.random.default_rng(0), Wordings(), dict[str, str]()
    for _ in range(3000):
        doc_id, text = f"d{draw.integers(900)}", f"text {draw.integers(2)}"
        expected = (doc_id not in known, known.setdefault(doc_id, text) == text)
        assert seen.first(doc_id, text) == expected


def test_ids_whose_digests_begin_alike_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wordings, "FEWEST", 1)
    monkeypatch.setattr(wordings, "_digest", lambda text: text.encode().ljust(16, b"\0"))
    seen = Wordings()
    assert seen.first("12345678a", "x") == seen.first("12345678b", "y") == (True, True)
    assert seen.first("12345678a", "x") == (False, True) and seen.first("12345678b", "x") == (False, False)
