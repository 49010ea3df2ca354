"""Benchmarks: figures measured in one run on one machine, printed as a table, never used to pass or fail a test."""
