"""The offline side and the command line: what users run. Thin: settings in, `prag_core` or a Ray pipeline, summary out."""
