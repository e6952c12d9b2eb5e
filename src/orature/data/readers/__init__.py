"""One small file a corpus format; `registry.py` chooses among them."""
