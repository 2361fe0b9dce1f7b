"""Planning of a run: the recipe's identity, the shards, the documents that are known already, and the estimated cost."""
