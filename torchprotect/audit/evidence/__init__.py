"""The evidence of an audit: images, what is known about them, and by whom."""
