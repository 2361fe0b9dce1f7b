"""Garbage collection of a bank: erase deleted documents, mark the files that something names, sweep the others."""
