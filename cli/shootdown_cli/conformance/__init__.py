"""Conformance: an agent is driven by a daemon that is none, and graded by what it does."""
