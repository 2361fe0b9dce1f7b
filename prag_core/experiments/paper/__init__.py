"""The published tables, made again: one description a table, the figures of the paper beside those measured."""
