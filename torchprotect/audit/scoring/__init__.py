"""Running attacks, and holding what they find against the truth."""
