"""What is audited, and who knows what of it."""
