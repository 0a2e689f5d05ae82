"""Problems, prompts and the embedded synthetic task."""
