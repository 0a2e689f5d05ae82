"""Ranks of one run and the sharding of its policy."""
