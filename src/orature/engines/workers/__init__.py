"""Scripts that run in the environments of their engines; they import nothing of Orature."""
