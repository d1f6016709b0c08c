"""Several settings compared on the same images: what a network keeps, and what attacks find."""
