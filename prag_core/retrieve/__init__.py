"""Questions → passages: retrieval over the documents of one snapshot of a bank."""
