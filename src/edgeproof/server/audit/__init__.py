"""The audit: sealed in batches, read, verified."""
