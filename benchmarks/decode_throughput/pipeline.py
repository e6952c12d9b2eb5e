"""The peer: the speech recognition pipeline of transformers.

Example::

    peer = Pipeline(Path("model"), ["a.flac", "b.flac"], language="", batch_size=8)
    texts = peer()
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch


class Pipeline:
    """transformers' pipeline over recordings read from disk one after another."""

    def __init__(self, model: Path, paths: Sequence[str], language: str, **options: Any) -> None:
        from transformers import pipeline

        from orature.engines.hf_folder import quiet

        with quiet():
            self.pipe = pipeline("automatic-speech-recognition", model=str(model), device="cpu")
        self.paths, self.options = paths, options
        if self.pipe.type == "seq2seq_whisper":
            how = {"language": language, "task": "transcribe", "num_beams": 1}
            self.options = {**options, "generate_kwargs": how}
            self.options.pop("chunk_length_s", None)
            self.pipe.tokenizer.pad_token_id = self.pipe.model.config.pad_token_id

    def __call__(self) -> list[str]:
        import soundfile

        def recordings() -> Iterator[dict[str, Any]]:
            for path in self.paths:
                samples, rate_hz = soundfile.read(path, dtype="float32")
                yield {"raw": samples, "sampling_rate": rate_hz}

        with torch.inference_mode():
            return [" ".join(one["text"].split()) for one in self.pipe(recordings(), **self.options)]

    def warm(self) -> None:
        """It is loaded."""
