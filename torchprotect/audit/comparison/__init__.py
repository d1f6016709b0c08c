"""Compare several settings on the same images: how much a network keeps, and how much attacks find."""
