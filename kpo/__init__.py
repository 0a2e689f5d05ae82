"""The method (filter and objective) and the trainer core that every method shares."""
