"""Baseline objectives, one small file each."""
