"""Tables of what a setting does: rows of settings × methods, each bank and each answer made once and kept by its identity."""
