"""Our loss beside coqui's own forward, on a small random XTTS; run by the Python of an environment with coqui-tts.

ORATURE_XTTS_PYTHON tests/xtts_parity.py FOLDER      prints [ours, coqui's] sums over the tokens of text and of audio
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src" / "orature" / "engines" / "workers"))


def main(folder: Path) -> dict[str, Any]:
    """Coqui's logits are taken without its masks, as when it speaks: in training those also hide the stop of the text
    from the audio, which then is seen when it speaks (`hidden`: what its own forward gives)."""
    folders, learning, words = (import_module(f"xtts_{name}") for name in ("folder", "learning", "vocabulary"))
    found = words.Extended(folders.read_table(folder), ())
    model = folders.load_grown(folder, found, folder / "again.json", seed=1)
    gpt = model.gpt.train(False)
    text, codes = [8, 9, 12, 20, 7], [3, 30, 30, 5, 0, 37, 11]
    samples = torch.randn(40_000, generator=torch.Generator().manual_seed(1)) * 0.1
    latents = folders.latents_of(model, samples)
    theirs_latents = model.get_gpt_cond_latents(samples[None], 22_050, 6, 6)
    with torch.no_grad():
        ours = learning.next_token_loss(gpt, [latents], [text], [codes])
        words_in = torch.tensor([[gpt.start_text_token, *text, gpt.stop_text_token]])
        codes_in = torch.tensor([[gpt.start_audio_token, *codes]])
        text_logits, audio_logits = gpt.get_logits(
            gpt.text_embedding(words_in) + gpt.text_pos_embedding(words_in),
            gpt.text_head,
            gpt.mel_embedding(codes_in) + gpt.mel_pos_embedding(codes_in),
            gpt.mel_head,
            prompt=latents,
        )
        theirs_text = functional.cross_entropy(text_logits[:, :, :-1], words_in[:, 1:], reduction="sum")
        targets = torch.tensor([[*codes, gpt.stop_audio_token]])
        theirs_audio = functional.cross_entropy(audio_logits, targets, reduction="sum")
        _, _, hidden_logits = gpt(
            torch.tensor([text]),
            torch.tensor([len(text)]),
            torch.tensor([codes]),
            torch.tensor([len(codes) * gpt.code_stride_len]),
            cond_mels=torch.zeros(1, 80, 1),
            cond_latents=latents,
        )
        hidden = functional.cross_entropy(hidden_logits[:, :, : len(codes) + 1], targets, reduction="sum")
    return {
        "text": [float(ours.text_sum), float(theirs_text)],
        "audio": [float(ours.audio_sum), float(theirs_audio)],
        "hidden": float(hidden),
        "latents": float((latents - theirs_latents).abs().max()),
    }


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]))))
