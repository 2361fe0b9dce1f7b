"""Methods that choose a strategy for each question, and the trained router they choose by."""
