"""Who runs the plan of an export."""
