"""Benchmarks, sampling, grading, statistics and tables."""
