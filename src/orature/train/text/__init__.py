"""Training translators of text: a small Transformer in the layout of MarianMT, in its own loop.

Its rows are pairs of texts and no recordings; what the loops share is checkpoints, batches, the learning rate and the
rule that every random draw follows from (seed, update) or (seed, epoch).
"""
