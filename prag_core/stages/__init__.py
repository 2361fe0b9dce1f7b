"""The offline stages over one shard, augment and train, without Ray."""
