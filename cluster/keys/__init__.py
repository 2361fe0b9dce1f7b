"""API keys: the key file, quotas, and the command that manages them."""
