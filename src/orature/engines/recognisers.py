"""From a model folder (or an allowed hub id) of any family to a recogniser, and back to a folder.

Example::

    recogniser = load_recogniser("model", device="cpu")
    print(recogniser.card.licence, recogniser.transcribe([samples])[0].text)
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from orature.core.errors import ModelError
from orature.engines.backends import is_exported, open_exported
from orature.engines.ctc_recogniser import CtcRecogniser, Decoder
from orature.engines.facts import FACTS, facts_of
from orature.engines.families import Family, family_of
from orature.engines.hub import model_folder
from orature.engines.native_folder import write_json
from orature.engines.protocol import Recogniser
from orature.engines.search_config import SearchConfig
from orature.engines.torch_fast import Precision, quicken
from orature.engines.vocabulary import Files

if TYPE_CHECKING:
    from orature.engines.network import CtcNetwork
    from orature.engines.vocabulary import CtcVocabulary


def load_recogniser(
    source: str | Path,
    *,
    device: str = "cpu",
    language: str | None = None,
    decoder: Decoder | None = None,
    precision: Precision = "fp32",
    search: SearchConfig | None = None,
) -> Recogniser:
    """The recogniser of a model folder, an exported one too; ModelError names the file at fault.

    `language` chooses an adapter or a language token where the family has them; `decoder` is for CTC families.
    `precision` "bf16" computes matrix products in bfloat16 (of encoder-decoders: the encoder's). `search` is for
    encoder-decoders (None: greedy, with the share of CTC that a model with a CTC head was trained with).
    """
    folder = model_folder(source, language=language)
    family = family_of(folder)
    if search is not None and (family.kind != "seq2seq" or is_exported(folder)):
        what = "an exported model" if is_exported(folder) else f"a model of the family {family.name}"
        raise ModelError(
            f"{what} does not search by beams, length penalty and ctc_weight",
            where=str(folder),
            next_step="leave them out (a CTC model has its beams in a decoder folder: `orature tune`)",
        )
    if is_exported(folder):
        return open_exported(folder, facts_of(folder, family), device=device, language=language, decoder=decoder)
    module = family.module()
    if family.kind == "recogniser":
        return cast(Recogniser, module.recogniser(folder, device=device, language=language))
    network, vocabulary = module.load(folder, language=language)
    quicken(network, precision=precision)
    facts = facts_of(folder, family)
    if family.kind == "seq2seq":
        from orature.engines.seq2seq_recogniser import Seq2SeqRecogniser

        how = search or SearchConfig()
        if how.ctc_weight and not hasattr(network, "ctc_weight"):
            raise ModelError(
                f"{family.name} models have no CTC head to decode with",
                where=str(folder),
                next_step="leave ctc_weight out",
            )
        if how.ctc_weight is not None and hasattr(network, "ctc_weight"):
            network.ctc_weight = how.ctc_weight
        return cast(
            Recogniser,
            Seq2SeqRecogniser(network, vocabulary, facts, device, beams=how.beams, length_penalty=how.length_penalty),
        )
    return CtcRecogniser(network, vocabulary, facts, device, decoder, precision=precision)


def load_ctc(source: str | Path, *, device: str = "cpu", language: str | None = None) -> CtcRecogniser:
    """As `load_recogniser`, for what needs log-probabilities; ModelError where the family has none."""
    folder = model_folder(source)
    family = family_of(folder)
    if family.kind != "ctc":
        raise ModelError(
            f"{family.name} models give no CTC probabilities",
            where=str(folder),
            next_step="name a CTC model (wav2vec 2.0, XLS-R, MMS, w2v-BERT, Parakeet CTC, or one of Orature's own)",
        )
    if is_exported(folder):
        return cast(CtcRecogniser, open_exported(folder, facts_of(folder, family), device=device, language=language))
    network, vocabulary = family.module().load(folder, language=language)
    quicken(network)
    return CtcRecogniser(network, vocabulary, facts_of(folder, family), device)


def can_read(source: str | Path, language: str | None = None) -> bool:
    """Whether a model can be decoded with as it is: it has a tokenizer and an output layer (for `language`)."""
    try:
        load_recogniser(source, language=language)
    except ModelError:
        return False
    return True


def model_files(family: Family, network: CtcNetwork, vocabulary: CtcVocabulary, facts: dict[str, str]) -> Files:
    """All files of a model folder, each with what writes it."""
    return {**family.module().files(network, vocabulary), FACTS: write_json(facts)}


def save_model(
    folder: Path, family: Family, network: CtcNetwork, vocabulary: CtcVocabulary, facts: dict[str, str]
) -> None:
    """Writes a model folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, write in model_files(family, network, vocabulary, facts).items():
        write(folder / name)
