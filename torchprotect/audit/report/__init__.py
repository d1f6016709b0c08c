"""The report of an audit: findings, the verdict in words, the page and the JSON."""
