"""Parametric RAG in one process: documents become adapters, adapters answer questions. Never imports Ray."""
