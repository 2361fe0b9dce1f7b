"""Methods that retrieve while they generate: FLARE, DRAGIN, IRCoT."""
