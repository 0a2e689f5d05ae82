"""Rollouts of anyone's run: structure of log-ratios, and what objectives make of them."""
