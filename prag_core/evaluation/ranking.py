"""Retrieval scored against gold documents: recall, hit rate, MRR and NDCG, computed by ir_measures (trec_eval).

Retrieval returns chunks; labels are documents. A document ranks where its best chunk does.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prag_core.evaluation.extra import require
from prag_core.records import Passage, Question

require("ir_measures")


def ranked_documents(passages: Iterable[Passage]) -> list[str]:
    """List document ids in retrieved order, each once."""
    return list(dict.fromkeys(passage.doc_id for passage in passages))


def score_ranking(
    questions: Sequence[Question], retrieved: Sequence[Sequence[Passage]], depths: Sequence[int] = (3, 10)
) -> dict[str, float]:
    """Compute `recall@k`, `hit@k`, `mrr@k`, `ndcg@k` at every depth, means over the questions that name gold documents; empty
    where none does. `retrieved[i]` belongs to `questions[i]`, best first, at least max(depths) of them where they exist."""
    import ir_measures  # of the extra, and slow to import

    pairs = [
        (q, ranked_documents(found)) for q, found in zip(questions, retrieved, strict=True) if q.gold_doc_ids
    ]
    if not pairs:
        return {}
    # trec_eval breaks ties by its own rule and passes ids through C strings: it gets ranks as scores, and numbers as ids
    numbers: dict[str, str] = {}

    def number(doc_id: str) -> str:
        return numbers.setdefault(doc_id, str(len(numbers)))

    labels = {
        str(i): {number(doc_id): 1 for doc_id in question.gold_doc_ids}
        for i, (question, _) in enumerate(pairs)
    }
    run = {
        str(i): {number(doc_id): -float(rank) for rank, doc_id in enumerate(ids)}
        for i, (_, ids) in enumerate(pairs)
    }
    kinds = {
        "recall": ir_measures.R,
        "hit": ir_measures.Success,
        "mrr": ir_measures.RR,
        "ndcg": ir_measures.nDCG,
    }
    measures = {
        f"{name}@{depth}": kind @ depth for name, kind in kinds.items() for depth in sorted(set(depths))
    }
    scores = ir_measures.calc_aggregate(list(measures.values()), labels, run)
    return {name: float(scores[measure]) for name, measure in measures.items()}
