"""Documents: readers for each file format, and splitting of long texts into chunks."""
