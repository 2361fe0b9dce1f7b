"""Garbage collection of a bank: find what no snapshot needs, and erase it."""
