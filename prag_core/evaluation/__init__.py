"""Answers → scores: what was asked, how well it was answered, how sure that is, and how it is shown."""
