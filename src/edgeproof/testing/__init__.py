"""Shipped fakes, factories and conformance suites for tests, ours and our users'."""
