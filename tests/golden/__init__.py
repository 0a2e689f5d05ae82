"""Committed metrics of every method on a miniature, and what they are compared by."""
