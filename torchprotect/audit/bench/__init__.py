"""What several attacks share: what each level gets, trained networks, finished parts on disk."""
