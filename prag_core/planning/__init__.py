"""What a run will do: the recipe's identity, the shards, what is known already, and what it will cost."""
