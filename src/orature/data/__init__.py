"""The corpus, its audio, and the readers that make one out of anything."""
