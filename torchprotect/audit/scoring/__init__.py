"""Run attacks and score their results against the truth."""
