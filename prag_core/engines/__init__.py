"""Prompts, each with or without a merged adapter, to text."""
