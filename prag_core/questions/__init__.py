"""Question sets: readers for each published file format, and worked examples for prompts."""
