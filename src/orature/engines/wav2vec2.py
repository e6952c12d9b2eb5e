"""wav2vec 2.0 and its kin with a CTC head: XLS-R, HuBERT, WavLM, Wav2Vec2-Conformer, UniSpeech, data2vec audio; MMS.

They hear raw samples through a stack of convolutions (Baevski et al. 2020, section 2; 20 ms a step). Checkpoints whose
first convolution is followed by group norm (wav2vec2-base, hubert-base) were trained without an attention mask, and in
the reference what pads a batch changes their results: here the group norm takes its statistics over each utterance's
own steps and attention is masked, so that an utterance in a batch gives what the reference gives for it alone.

Example::

    network, vocabulary = load(Path("wav2vec2-base-960h"))
    network, vocabulary = begin(Path("wav2vec2-xls-r-300m"), ["shuk wasi"], Start(head="new"))
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from orature.engines import mms
from orature.engines.characters import Characters
from orature.engines.families import Start, read_config
from orature.engines.hf_ctc import finish, folder_files, head_rows, lengthened, needs_head, no_adapters
from orature.engines.hf_folder import shapes_of
from orature.engines.hf_vocabulary import HfVocabulary
from orature.engines.vocabulary import CtcVocabulary, Files
from orature.engines.wav2vec2_network import Wav2Vec2Ctc, read_network

KIND = "ctc"


def load(folder: Path, *, language: str | None = None) -> tuple[Wav2Vec2Ctc, CtcVocabulary]:
    """The network and its vocabulary; `language` picks the adapter of an MMS checkpoint."""
    if has_adapters(folder):
        return mms.load(folder, language=language)
    rows = needs_head(folder, shapes_of(folder), Wav2Vec2Ctc.head_name)
    network = read_network(folder, Start(), rows)
    return network, HfVocabulary.read(folder, outputs=rows, pad=network.config.pad_token_id)


def begin(folder: Path, texts: Sequence[str], start: Start) -> tuple[Wav2Vec2Ctc, CtcVocabulary]:
    """The network with an output layer for `texts`: a new one ("auto", "new"), a longer one, or as it is.

    A checkpoint that was only pre-trained has no output layer: only "new" applies. Rows are drawn from torch's
    generator.
    """
    if has_adapters(folder):
        return mms.begin(folder, texts, start)
    no_adapters(folder, start)
    rows = head_rows(shapes_of(folder), Wav2Vec2Ctc.head_name)
    vocabulary: CtcVocabulary
    if start.head in ("auto", "new"):
        vocabulary = Characters.of([" ", *texts])
        network = read_network(folder, start, rows)
        network.put_head(network.fresh_head(len(vocabulary)))
    else:
        rows = needs_head(folder, shapes_of(folder), Wav2Vec2Ctc.head_name)
        network = read_network(folder, start, rows)
        vocabulary = HfVocabulary.read(folder, outputs=rows, pad=network.config.pad_token_id)
        if start.head == "extend":
            vocabulary = vocabulary.extended(texts)
            lengthened(network, len(vocabulary))
    finish(network, vocabulary, start)
    return network, vocabulary


def files(network: Wav2Vec2Ctc, vocabulary: CtcVocabulary) -> Files:
    """The model folder as transformers reads it; an MMS model's holds its adapters too."""
    if isinstance(network, mms.MmsCtc):
        return mms.files(network, vocabulary)
    return folder_files(network, vocabulary)


def has_adapters(folder: Path) -> bool:
    """Whether the checkpoint holds an adapter for each language (MMS)."""
    return read_config(folder).get("adapter_attn_dim") is not None
