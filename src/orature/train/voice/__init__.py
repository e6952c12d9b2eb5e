"""Training a voice (VITS): Kim, Kong, Son 2021, "Conditional variational autoencoder with adversarial learning for
end-to-end text-to-speech", written over the submodules of transformers' VitsModel, which itself refuses to train.

Example::

    from orature.train.voice.loop import fit_voice

    outcome = fit_voice(made, train, dev, config, state=Path("state"), watcher=VoiceWatcher())
"""
