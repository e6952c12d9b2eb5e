"""Models under CTranslate2: Whisper, and wav2vec 2.0 whose front end has layer norms (XLS-R; not MMS's adapters).

Whisper: the log-mel features are computed by torch, encoder and decoder run in CTranslate2, without the tokens that our
own search never writes. It gives the score of a text, not of its tokens: each token is given the mean, and
probabilities are those among the tokens that may be written, so that scores are a little higher than ours. wav2vec 2.0:
CTranslate2 takes no lengths, so recordings run one by one.

Example::

    convert(Path("whisper-small"), Path("fast"), int8=True)
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from orature.core.errors import ModelError
from orature.engines.backends import BackendFacts, need_file, threads
from orature.engines.families import families
from orature.engines.hf_folder import quiet
from orature.engines.network import Part, Seq2SeqNetwork, Spans, Written
from orature.engines.onnx_backend import InferenceCtc
from orature.engines.seq2seq_network import TOKENS_A_SECOND
from orature.engines.seq2seq_recogniser import Seq2SeqRecogniser
from orature.engines.seq2seq_vocabulary import WhisperVocabulary
from orature.engines.windows import Windows

MODEL = "model.bin"
RATE_HZ = 16_000
_PUBLISHED: dict[str, object] = {
    "conv_kernel": (10, 3, 3, 3, 3, 2, 2),
    "conv_stride": (5, 2, 2, 2, 2, 2, 2),
    "num_conv_pos_embeddings": 128,
    "num_conv_pos_embedding_groups": 16,
}


def why_not(network: object) -> str:
    """Why CTranslate2 cannot run a network, in words; "" where it can."""
    if getattr(getattr(getattr(network, "model", None), "config", None), "model_type", "") == "whisper":
        return ""
    config = getattr(network, "config", None)
    if getattr(config, "model_type", "") != "wav2vec2":
        return "CTranslate2 runs Whisper and wav2vec 2.0 only"
    if getattr(config, "feat_extract_norm", "") != "layer" or not getattr(config, "do_stable_layer_norm", False):
        return "CTranslate2 runs wav2vec 2.0 in the layout of XLS-R only (layer norms in the front end)"
    if getattr(config, "adapter_attn_dim", None) is not None or getattr(config, "add_adapter", False):
        return "CTranslate2 knows no adapters"
    if any(_as_published(getattr(config, name)) != value for name, value in _PUBLISHED.items()):
        return "CTranslate2 has the convolutions of the published wav2vec 2.0 built in, and this model has others"
    return ""


def _as_published(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def convert(source: Path, to: Path, *, int8: bool = False) -> None:
    """Converts a folder in the layout of transformers, with its tokenizer, into `to`: model.bin and its vocabulary.

    What CTranslate2 writes into config.json is put into the config.json that lies in `to`.
    """
    from ctranslate2.converters import TransformersConverter

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "out"
        try:
            with quiet():
                TransformersConverter(str(source)).convert(str(out), quantization="int8" if int8 else "float32")
        except (ValueError, RuntimeError, KeyError, AttributeError) as error:
            raise ModelError(
                f"CTranslate2 cannot convert this model: {str(error).splitlines()[0][:200]}",
                next_step="export it --as onnx, or use the model folder as it is",
            ) from error
        for path in sorted(out.iterdir()):
            if path.name == "config.json":
                theirs = json.loads(path.read_text(encoding="utf-8"))
                ours = json.loads((to / "config.json").read_text(encoding="utf-8"))
                text = json.dumps({**ours, **theirs}, ensure_ascii=False, indent=1, sort_keys=True)
                (to / "config.json").write_text(text + "\n", encoding="utf-8")
            else:
                shutil.copyfile(path, to / path.name)


def _open(kind: str, folder: Path, facts: BackendFacts, device: str) -> Any:
    import ctranslate2

    need_file(folder, MODEL)
    try:
        return getattr(ctranslate2.models, kind)(
            str(folder),
            device="cuda" if device.startswith("cuda") else "cpu",
            compute_type="int8" if facts.backend.endswith("int8") else "float32",
            intra_threads=threads(),
        )
    except (ValueError, RuntimeError) as error:
        raise ModelError(
            f"CTranslate2 cannot open the model: {str(error).splitlines()[0][:200]}",
            where=str(folder),
            next_step="export the model again with `orature export`",
        ) from error


def _storage(values: Tensor) -> Any:
    import ctranslate2

    return ctranslate2.StorageView.from_array(np.ascontiguousarray(values.float().cpu().numpy()))


class Ctranslate2Ctc(InferenceCtc):
    """wav2vec 2.0 with a CTC head, one recording after another."""

    def __init__(self, folder: Path, facts: BackendFacts, *, device: str = "cpu") -> None:
        super().__init__(facts)
        self._facts = facts
        self._model = _open("Wav2Vec2", folder, facts, device)

    def forward(
        self, samples_BS: Tensor, lengths_B: Tensor, warps_B: Tensor | None = None, spans: Spans | None = None
    ) -> tuple[Tensor, Tensor]:
        """Logits (B, T, V) and valid steps (B,)."""
        steps = [self.steps(length) for length in lengths_B.tolist()]
        logits_BTV = torch.zeros(len(steps), max(1, *steps), self._facts.outputs)
        for row_TV, samples_S, length, count in zip(logits_BTV, samples_BS, lengths_B.tolist(), steps, strict=True):
            if count:
                row_TV[:count] = self._encode(self._heard(samples_S[:length]))[:count]
        return logits_BTV, torch.tensor(steps)

    def _encode(self, samples_S: Tensor) -> Tensor:
        try:
            found = self._model.encode(_storage(samples_S[None, None]), to_cpu=True)
        except RuntimeError as error:
            raise ModelError(
                f"CTranslate2 cannot run this model: {error}", next_step="export it --as onnx, or use the model folder"
            ) from error
        return torch.from_numpy(np.array(found)[0])

    def _heard(self, samples_S: Tensor) -> Tensor:
        if not self._facts.normalises:
            return samples_S
        centred_S = samples_S - samples_S.mean()
        return centred_S * torch.rsqrt(centred_S.square().mean() + 1e-7)


class Ctranslate2Whisper(Seq2SeqNetwork):
    """Whisper: greedy and beam search in CTranslate2."""

    def __init__(self, folder: Path, facts: BackendFacts, *, device: str = "cpu") -> None:
        super().__init__()
        self._facts = facts
        self.max_seconds = facts.max_seconds
        self.windows = Windows(facts.max_seconds, short=facts.short_windows)
        self.features = families()["whisper"].module().WhisperLogMel(facts.mels)
        self._model = _open("Whisper", folder, facts, device)

    def parts(self) -> dict[Part, list[nn.Parameter]]:
        """None."""
        return {}

    def forward(self, samples_BS: Tensor, lengths_B: Tensor, labels_BL: Tensor, spans: Spans | None = None) -> Tensor:
        """ModelError: an exported model can only decode."""
        raise ModelError(
            "an exported model can only decode", next_step="name the model folder that it was exported from"
        )

    def padded_samples(self, samples: int) -> int:
        """The window of a recording."""
        return self.windows.of(samples)

    def _heard(self, samples_BS: Tensor, lengths_B: Tensor, window: int) -> Any:
        within_BS = torch.arange(samples_BS.shape[1], device=samples_BS.device) < lengths_B[:, None]
        return _storage(self.features(samples_BS * within_BS, window))

    def generate(
        self,
        samples_BS: Tensor,
        lengths_B: Tensor,
        prompt: list[int],
        *,
        beams: int = 1,
        n_best: int = 1,
        length_penalty: float = 1.0,
        max_tokens: int | None = None,
    ) -> list[list[Written]]:
        """The `n_best` best sequences after `prompt` for each recording, best first; each in its own window."""
        how: dict[str, Any] = {"beam_size": beams, "num_hypotheses": n_best, "length_penalty": length_penalty}

        def work(window: int, rows: list[int]) -> list[list[Written]]:
            return self._searched(samples_BS[rows], lengths_B[rows], window, prompt, max_tokens, how)

        return self.windows.apart(lengths_B.tolist(), work)

    def _searched(
        self,
        samples_BS: Tensor,
        lengths_B: Tensor,
        window: int,
        prompt: list[int],
        max_tokens: int | None,
        how: Mapping[str, Any],
    ) -> list[list[Written]]:
        room = self._facts.max_tokens + 1 - len(prompt)
        seconds = [length / RATE_HZ for length in lengths_B.tolist()]
        limits = [max(1, min(room, max_tokens or 10 + int(TOKENS_A_SECOND * s))) for s in seconds]
        most = max(limits)
        found = self._model.generate(
            self._heard(samples_BS, lengths_B, window),
            [prompt] * len(limits),
            **how,
            max_length=max(2 * most, most + len(prompt)),  # it takes the half of this, or less by the prompt
            return_scores=True,
            suppress_blank=True,
            suppress_tokens=list(self._facts.never),
        )
        return [
            [_written(tokens, score, limit) for tokens, score in zip(one.sequences_ids, one.scores, strict=True)]
            for one, limit in zip(found, limits, strict=True)
        ]

    def detect(self, samples_BS: Tensor, lengths_B: Tensor, start: int, languages: Sequence[int]) -> list[int]:
        """ModelError: the language has to be named (CTranslate2 guesses it for the published vocabularies only)."""
        raise ModelError(
            "an exported Whisper model does not guess the language", next_step="name it by its BCP-47 tag (--lang sw)"
        )


def _written(tokens: Sequence[int], score: float, limit: int) -> Written:
    """CTranslate2 divides the sum of log-probabilities by the length: that is each token's mean."""
    kept = tuple(tokens[:limit])
    return Written(kept, (float(score),) * len(kept), float(score))


def open_whisper(
    folder: Path, backend: BackendFacts, facts: Mapping[str, str], *, device: str, language: str | None
) -> Seq2SeqRecogniser:
    """The recogniser of an exported Whisper model."""
    from transformers import GenerationConfig, WhisperTokenizer

    need_file(folder, "tokenizer.json")
    try:
        with quiet():
            tokenizer = WhisperTokenizer.from_pretrained(folder, local_files_only=True)
            generation = GenerationConfig.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ModelError(
            f"the tokenizer cannot be read: {error}", where=str(folder), next_step="copy the whole folder again"
        ) from error
    vocabulary = WhisperVocabulary(tokenizer, generation, language or backend.language)
    return Seq2SeqRecogniser(Ctranslate2Whisper(folder, backend, device=device), vocabulary, facts, "cpu")
