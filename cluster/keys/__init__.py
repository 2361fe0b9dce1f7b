"""API keys: the key file, the limits of a key, and the command that manages keys."""
