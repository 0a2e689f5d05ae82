"""What stops a run, or says what is wrong with it."""
