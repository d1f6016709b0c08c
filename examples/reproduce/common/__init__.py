"""What the reproductions of all three papers share."""
