"""Where this suite does otherwise than the paper, and what that is worth."""
