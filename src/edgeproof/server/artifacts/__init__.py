"""Artifacts as use cases: keep, grant, read, upload directly; documents and evidence among them."""
