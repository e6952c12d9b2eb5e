"""What every CTC family must hold; authors of a family of their own run the same checks on it.

Each check takes a checkpoint folder (`testing/checkpoints.py` makes small ones) and raises `ContractBroken` with the
family, the law and the numbers.

Example::

    check_reference(make_checkpoint(tmp_path / "a", "xls-r"), samples)
    check_batch(folder, [samples, samples[:9000]])
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from orature.core.errors import ModelError
from orature.engines.families import Start, family_of, read_config
from orature.engines.hf_folder import quiet
from orature.engines.network import CtcNetwork
from orature.engines.protocol import Samples
from orature.engines.vocabulary import CtcVocabulary, Files
from orature.testing.checkpoints import spoiled

TOLERANCE = 2e-4
RATE_HZ = 16_000


class ContractBroken(AssertionError):
    """A family does not hold what it promises."""


def hold(law: bool, what: str) -> None:
    """ContractBroken with `what` unless `law` holds."""
    if not law:
        raise ContractBroken(what)


def padded(recordings: Sequence[Samples], spare: int = 0) -> tuple[Tensor, Tensor]:
    """Recordings as a zero-padded batch (B, S) with `spare` samples more than the longest, and their lengths (B,)."""
    lengths_B = torch.tensor([len(samples) for samples in recordings])
    samples_BS = torch.zeros(len(recordings), int(lengths_B.max()) + spare)
    for row, samples in zip(samples_BS, recordings, strict=True):
        row[: len(samples)] = torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32))
    return samples_BS, lengths_B


@torch.no_grad()
def logits_of(network: CtcNetwork, recordings: Sequence[Samples], *, spare: int = 0) -> list[Tensor]:
    """Logits (T, V) of each recording, valid steps only, computed in one batch without dropout."""
    was_training = network.training
    network.eval()
    logits_BTV, steps_B = network(*padded(recordings, spare))
    network.train(was_training)
    return [logits_TV[:steps].clone() for logits_TV, steps in zip(logits_BTV, steps_B.tolist(), strict=True)]


def best_path(vocabulary: CtcVocabulary, logits_TV: Tensor) -> str:
    """Text of the most probable labels, repeats merged, blanks dropped."""
    labels = torch.unique_consecutive(logits_TV.argmax(dim=-1)).tolist()
    return vocabulary.decode([label for label in labels if label != vocabulary.blank])


def distance(one: Tensor, other: Tensor) -> float:
    """Largest difference; infinite where the shapes differ."""
    return float((one - other).abs().max()) if one.shape == other.shape else float("inf")


def check_reference(folder: Path, samples: Samples, *, tolerance: float = TOLERANCE) -> None:
    """Logits equal those of transformers with the checkpoint's own feature extractor, on one recording.

    w2v-BERT's reference lets its adapter read the half-filled last step of an odd number of frames: give an even one.
    """
    import transformers

    network, _ = family_of(folder).module().load(folder)
    with quiet():
        model = transformers.AutoModelForCTC.from_pretrained(folder).eval()
        extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    with torch.no_grad():
        inputs = extractor(samples, sampling_rate=RATE_HZ, return_tensors="pt")
        reference_TV = model(**inputs).logits[0]
    ours_TV = logits_of(network, [samples])[0]
    steps = network.steps(len(samples))
    hold(len(ours_TV) == steps, f"{folder.name}: {len(ours_TV)} steps came out, steps() says {steps}")
    away = distance(ours_TV, reference_TV[: len(ours_TV)])
    hold(away < tolerance, f"{folder.name}: logits differ from the reference by {away:.1e}")


def check_batch(folder: Path, recordings: Sequence[Samples], *, tolerance: float = TOLERANCE) -> None:
    """Every recording of a padded batch gives what it gives alone."""
    network, _ = family_of(folder).module().load(folder)
    together = logits_of(network, recordings, spare=777)
    for number, samples in enumerate(recordings):
        away = distance(logits_of(network, [samples])[0], together[number])
        hold(away < tolerance, f"{folder.name}: recording {number} differs by {away:.1e} in a batch")


def check_spans(folder: Path, samples: Samples) -> None:
    """An empty mask changes nothing; a mask of time and one of bins each change the logits, the same way each time."""
    network, _ = family_of(folder).module().load(folder)
    network.eval()
    batch = padded([samples])

    @torch.no_grad()
    def masked(time: tuple[int, int], bins: tuple[int, int]) -> Tensor:
        return cast(Tensor, network(*batch, spans=(torch.tensor([[time]]), torch.tensor([[bins]])))[0])

    plain = logits_of(network, [samples])[0]
    hold(distance(masked((0, 0), (3, 3))[0, : len(plain)], plain) == 0, f"{folder.name}: an empty mask masks")
    for time, bins in (((20, 50), (0, 0)), ((0, 0), (0, network.mask_bins // 2))):
        first = masked(time, bins)
        hold(distance(first[0, : len(plain)], plain) > 1e-5, f"{folder.name}: the mask {time}, {bins} does nothing")
        hold(distance(first, masked(time, bins)) == 0, f"{folder.name}: a mask is not the same each time")


def check_overfits(
    folder: Path,
    recordings: Sequence[Samples],
    texts: Sequence[str],
    start: Start | None = None,
    *,
    updates: int = 400,
    learning_rate: float = 1.5e-3,
) -> tuple[CtcNetwork, CtcVocabulary]:
    """Learns `texts` by heart, to no error, within `updates`; returns what has been learned.

    Dropout is put to 0 where the family's config has it.
    """
    torch.manual_seed(1)
    start = start or Start()
    network, vocabulary = (
        family_of(folder).module().begin(folder, texts, replace(start, overrides=without_dropout(folder)))
    )
    network.train()
    optimiser = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=learning_rate)
    targets = [vocabulary.encode(text) for text in texts]
    flat = torch.tensor([token for target in targets for token in target])
    sizes = torch.tensor([len(target) for target in targets])
    batch = padded(recordings)
    heard: list[str] = []
    for update in range(updates):
        logits_BTV, steps_B = network(*batch)
        logs_TBV = logits_BTV.log_softmax(dim=-1).transpose(0, 1)
        loss = F.ctc_loss(logs_TBV, flat, steps_B, sizes, blank=vocabulary.blank)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        if update % 10 == 9:
            heard = [best_path(vocabulary, logits_TV) for logits_TV in logits_of(network, recordings)]
            if heard == list(texts):
                return network.eval(), vocabulary
    raise ContractBroken(f"{folder.name}: after {updates} updates it writes {heard}, not {list(texts)}")


def without_dropout(folder: Path) -> dict[str, Any]:
    """Overrides that put every dropout of a checkpoint's config to 0."""
    if str(read_config(folder).get("model_type")).startswith("orature-"):
        return {"dropout": 0.0}
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(folder)
    names = {*config.to_dict(), *getattr(config, "encoder_config", config).to_dict()}
    return {name: 0.0 for name in names if "dropout" in name or name == "layerdrop"}


def write(files: Files, folder: Path) -> Path:
    """Writes the files of a model folder."""
    folder.mkdir(parents=True)
    for name, writer in files.items():
        writer(folder / name)
    return folder


def digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a folder."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.iterdir())}


def check_round_trip(
    source: Path,
    network: CtcNetwork,
    vocabulary: CtcVocabulary,
    recordings: Sequence[Samples],
    folder: Path,
    *,
    exact: bool = True,
) -> None:
    """Saved to `folder` and loaded, a model gives the same logits bit for bit; saved twice, the same bytes.

    `exact=False` allows for rounding (LoRA's product is added to the weights when they are saved).
    """
    module = family_of(source).module()
    write(module.files(network, vocabulary), folder)
    before = logits_of(network, recordings)
    again, words = module.load(folder)
    hold(family_of(folder) == family_of(source), f"{folder}: another family came back")
    for one, other in zip(before, logits_of(again, recordings), strict=True):
        away = distance(one, other)
        hold(away == 0 or (not exact and away < TOLERANCE), f"{source.name}: loaded, the logits differ by {away:.1e}")
    texts = [best_path(vocabulary, logits_TV) for logits_TV in before]
    hold([best_path(words, logits_TV) for logits_TV in before] == texts, f"{source.name}: loaded, it writes otherwise")
    with tempfile.TemporaryDirectory() as place:
        second = write(module.files(network, vocabulary), Path(place) / "second")
        third = write(module.files(again, words), Path(place) / "third")
        hold(digests(second) == digests(folder), f"{source.name}: saved twice, the files differ")
        weights = "model.safetensors"
        hold(
            digests(third)[weights] == digests(folder)[weights], f"{source.name}: loaded and saved, the weights differ"
        )


def check_readable(folder: Path, samples: Samples) -> str:
    """transformers' own ASR pipeline reads a folder of ours and writes the same text, which is returned."""
    import transformers

    network, vocabulary = family_of(folder).module().load(folder)
    ours = best_path(vocabulary, logits_of(network, [samples])[0])
    with quiet():
        transcribe = cast(Callable[..., Any], transformers.pipeline("automatic-speech-recognition", model=str(folder)))
        theirs = transcribe({"raw": np.asarray(samples), "sampling_rate": RATE_HZ})["text"]
        processor = type(transformers.AutoProcessor.from_pretrained(folder)).__name__
    hold(processor == network.processor, f"{folder.name}: transformers takes it for {processor}'s")
    hold(theirs.strip() == ours, f"{folder.name}: the pipeline writes {theirs!r}, we write {ours!r}")
    return ours


def check_extends(folder: Path, texts: Sequence[str], samples: Samples, start: Start) -> None:
    """An extended output layer keeps its old rows bit for bit, its old numbers, and writes every text."""
    module = family_of(folder).module()
    old_network, old = module.load(folder, language=start.language)
    network, vocabulary = module.begin(folder, texts, replace(start, head="extend"))
    hold(len(vocabulary) > len(old), f"{folder.name}: nothing was added for {list(texts)}")
    before, after = logits_of(old_network, [samples])[0], logits_of(network, [samples])[0]
    hold(torch.equal(before, after[:, : len(old)]), f"{folder.name}: extended, the old outputs changed")
    same = all(old.piece(token) == vocabulary.piece(token) for token in range(len(old)))
    hold(same, f"{folder.name}: extended, old tokens changed")
    for text in texts:
        hold(not vocabulary.unknown(text), f"{folder.name}: extended, it cannot write {text!r}")
        hold(vocabulary.decode(vocabulary.encode(text)) == text, f"{folder.name}: {text!r} does not come back")


def check_refuses(folder: Path, damage: str, where: Path, *, calls: Mapping[str, Callable[[Path], object]]) -> str:
    """A spoiled folder is a ModelError of one sentence that names the place and what to do; returns the sentence."""
    broken = spoiled(folder, damage, where)
    said = ""
    for name, call in calls.items():
        try:
            call(broken)
        except ModelError as error:
            said = error.what
            whole = bool(error.what and error.where and error.next_step) and "\n" not in error.what
            hold(whole, f"{folder.name}, {damage}: {name} says {error!r} without place or next step")
        else:
            raise ContractBroken(f"{folder.name}, {damage}: {name} takes it without a word")
    return said
