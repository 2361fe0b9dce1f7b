"""From a question to its answer: methods, what they answer with, and their registry."""
