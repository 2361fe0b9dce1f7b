"""One replica of the generator: merge, install, generate."""
