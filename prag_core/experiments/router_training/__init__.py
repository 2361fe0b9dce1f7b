"""Training the router that chooses a strategy for each question: labels, fit, report."""
