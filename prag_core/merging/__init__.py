"""Several documents' adapters → one, by a rule that has a name.

| rule | what is added to a weight | rank | PEFT |
|---|---|---|---|
| `sum` | Σ Δᵢ, exactly: factors side by side on the rank axis | Σr | `cat` |
| `mean` | Σ Δᵢ / k, exactly | Σr | `cat`, weights 1/k |
| `score_weighted` | Σ wᵢ Δᵢ, exactly, with wᵢ = (score / best score) ** sharpness | Σr | `cat` |
| `ties` | small entries of the factors dropped, signs elected, those that agree averaged | r | `ties` |
| `dare` | Σ Δ̂ᵢ, where Δ̂ᵢ has lost random entries of its factors and the rest is scaled up | Σr | its pruning, then `cat` |
| `svd` | the adapter of a smaller rank nearest to Σ Δᵢ | `merge.rank` | `svd` |

Where documents were warm-started, every Δᵢ holds the delta Δ₀ of the adapter they started from. With `merge.warm=once` a merge
counts it once: the sums add Δ₀ + Σ wᵢ (Δᵢ - Δ₀), at a rank of Σr + r; `ties` and `dare` work on how far each entry of the
factors has moved; `svd` cuts that sum. With `every` it counts with each document, as published.

A merged adapter's scaling is in its factors, so alpha equals its rank (scaling 1). Its name is the hash of all that went
in: rule, settings that the rule reads, versions and weights. Equal sets of documents, in any order, give the same name and
the same bits.
"""

from prag_core.merging.interference import Interference, interference
from prag_core.merging.merged_adapter import MergedAdapter, Versioned
from prag_core.merging.rules import (
    RULES,
    counts_once,
    find_rule,
    merge_adapters,
    merge_cat,
    merged_name,
    merged_rank,
)

__all__ = [
    "RULES",
    "Interference",
    "MergedAdapter",
    "Versioned",
    "counts_once",
    "find_rule",
    "interference",
    "merge_adapters",
    "merge_cat",
    "merged_name",
    "merged_rank",
]
