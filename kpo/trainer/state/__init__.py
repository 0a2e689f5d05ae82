"""What a run keeps to go on exactly where it stopped."""
