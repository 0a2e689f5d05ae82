"""Results of several places side by side, and results for others."""
