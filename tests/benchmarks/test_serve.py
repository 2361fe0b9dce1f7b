"""The endpoint's benchmark, small: real servers with and without room for adapters, and answers of one length."""

from __future__ import annotations

from benchmarks import serve


def test_every_phase_is_measured_on_both_servers_with_answers_of_one_length() -> None:
    few = ["--at-once", "1", "3", "--requests", "6", "--warm-up", "2", "--max-tokens", "5", "--passage-tokens", "30"]
    found = serve.main(few)
    rows, plain = found["rows"], found["without_lora"]
    assert [(row["at_once"], row["method"], row["adapters"]) for row in rows] == [(n, *p) for n in (1, 3) for p in serve.PHASES]
    assert [(row["at_once"], row["method"]) for row in plain] == [(n, m) for n in (1, 3) for m in ("closed_book", "rag")]
    for row in [*rows, *plain]:
        assert row["tokens"] == 5.0 and row["requests"] == 6
        assert 0 < row["first_token_p50_ms"] <= row["total_p50_ms"] <= row["total_p99_ms"]
        assert 0 <= row["share"] < 1
    by_phase = {(row["method"], row["adapters"]): row for row in rows if row["at_once"] == 1}
    for method in ("prag", "combine"):
        cold, warm = by_phase[method, "cold"], by_phase[method, "warm"]
        assert cold["fetch_ms"] > warm["fetch_ms"]  # nothing was read again
        assert min(cold["merge_ms"], warm["merge_ms"], cold["install_ms"], warm["install_ms"]) > 0  # but all was merged anew
    assert by_phase["rag", ""]["merge_ms"] == by_phase["closed_book", ""]["merge_ms"] == 0
    assert min(found["transformers"].values()) > 0
