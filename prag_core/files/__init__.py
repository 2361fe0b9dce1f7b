"""Files of rows, shared by corpora, question sets and worked examples: decompression and one reader a format."""
