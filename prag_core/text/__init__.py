"""Where the parts of a text lie."""
