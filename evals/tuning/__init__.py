"""Settings chosen for each method on validation problems, and what they change."""
