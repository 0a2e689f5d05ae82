"""Objectives as estimators of the policy gradient: how far from it, and in which way."""
