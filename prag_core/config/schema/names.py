"""The names that settings choose among. What bears them lies above the settings or in libraries; a test holds them equal."""

from __future__ import annotations

# fmt: off
OBJECTIVES = ("next_token", "answer", "distill")
MERGE_RULES = ("sum", "mean", "score_weighted", "ties", "dare", "svd")
METHODS = (
    "closed_book", "rag", "prag", "combine", "prag_irrelevant", "warm_only", "rag_gold", "prag_gold", "combine_gold",
    "da_rag", "da_rag+prag", "ircot", "ircot+prag", "flare", "flare+prag", "flare_lookahead", "flare_lookahead+prag",
    "dragin", "dragin+prag", "adaptive_rag", "adaptive_rag+prag", "adaptive_prag",
)
DATASETS = ("2wiki", "hotpotqa")  # with published thresholds
STEMMERS = (  # Snowball's
    "arabic", "armenian", "basque", "catalan", "czech", "danish", "dutch", "dutch_porter", "english", "esperanto",
    "estonian", "finnish", "french", "german", "greek", "hindi", "hungarian", "indonesian", "irish", "italian",
    "lithuanian", "nepali", "norwegian", "persian", "polish", "porter", "portuguese", "romanian", "russian", "serbian",
    "sesotho", "spanish", "swedish", "tamil", "turkish", "yiddish",
)
STOPWORDS = (  # of bm25s
    "english", "english_plus", "german", "dutch", "french", "spanish", "portuguese", "italian", "russian", "swedish",
    "norwegian", "chinese", "turkish", "korean", "danish",
)
# fmt: on
