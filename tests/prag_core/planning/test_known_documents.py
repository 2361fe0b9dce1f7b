"""The known finds every document it was told of, and says what outweighs what."""

import hashlib

import pyarrow as pa

from prag_core.planning.known_documents import DONE, FAILED, NEW, TEXT_ONLY, KnownDocuments, raw_digests


def sha(name: object) -> str:
    return hashlib.sha256(str(name).encode()).hexdigest()


def committed(**status: str) -> pa.Table:
    return pa.table(
        {
            "content_hash": [sha(name) for name in status],
            "status": pa.array(status.values()).dictionary_encode(),
            "current": [True] * len(status),
        }
    )


def test_what_it_was_not_told_of_is_new() -> None:
    assert KnownDocuments().look_up([sha("a"), sha("b")]).tolist() == [NEW, NEW]
    assert KnownDocuments(committed(a="adapter")).look_up([sha("b")]).tolist() == [NEW]
    assert KnownDocuments(committed(a="adapter")).look_up([]).tolist() == []


def test_it_agrees_with_a_dictionary_over_many() -> None:
    expected = {sha(i): (DONE if i % 3 else FAILED) for i in range(3000) if i % 2}
    table = pa.table(
        {
            "content_hash": list(expected),
            "status": ["adapter" if v == DONE else "failed" for v in expected.values()],
            "current": [True] * len(expected),
        }
    )
    hashes = [sha(i) for i in range(3000)]
    assert KnownDocuments(table).look_up(hashes).tolist() == [expected.get(name, NEW) for name in hashes]


def test_an_adapter_outweighs_a_pending_shard_and_that_a_failure() -> None:
    table = pa.concat_tables([committed(a="failed", b="failed"), committed(a="adapter", c="adapter")])
    known = KnownDocuments(table, [sha("b"), sha("c"), sha("d")])
    assert known.look_up([sha(name) for name in "abcd"]).tolist() == [DONE, 0, DONE, 2]


def test_what_is_known_of_a_text_only_document_outweighs_a_failure_alone() -> None:
    table = committed(a="failed", b="text_only", c="text_only", d="text_only")
    known = KnownDocuments(pa.concat_tables([table, committed(a="text_only", b="adapter")]), [sha("c")])
    assert known.look_up([sha(name) for name in "abcd"]).tolist() == [TEXT_ONLY, DONE, 0, TEXT_ONLY]


def test_a_digest_that_agrees_in_its_first_half_only_is_another() -> None:
    known = sha("a")
    other = known[:32] + "0" * 32
    assert KnownDocuments(committed(a="adapter")).look_up([known, other]).tolist() == [DONE, NEW]


def test_digests_that_end_in_zero_bytes_are_told_apart() -> None:
    first, second = "ab" + "00" * 31, "ab" + "00" * 30 + "01"
    table = pa.table({"content_hash": [first], "status": ["adapter"], "current": [True]})
    assert KnownDocuments(table).look_up([first, second]).tolist() == [DONE, NEW]


def test_a_column_and_a_list_give_the_same_digests() -> None:
    names = [sha(i) for i in range(5)]
    column = pa.chunked_array([pa.array(names[:2]), pa.array(names[2:])])
    assert (
        raw_digests(column).tolist() == raw_digests(names).tolist() == [bytes.fromhex(name) for name in names]
    )


def test_it_knows_which_current_documents_were_not_looked_up() -> None:
    known = KnownDocuments(
        pa.concat_tables([committed(a="adapter", b="failed"), committed(a="adapter")]), [sha("c")]
    )
    known.look_up([sha("a"), sha("x")])
    names = pa.chunked_array([[sha(name) for name in "abcx"]])
    assert known.seen(names).tolist() == [True, False, False, False] and not known.all_seen
    former = KnownDocuments(committed(a="adapter").set_column(2, "current", pa.array([False])))
    assert former.all_seen and KnownDocuments().all_seen
