"""The shared trainer: loop, optimizer step, logging."""
