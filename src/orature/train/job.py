"""One training run as data: everything that a process needs to begin, and what it becomes in memory.

Example::

    job = Job(config=config, texts=texts, languages=("que-EC",))
    made = job.make()                      # network, vocabulary, learner
    made.network, made.vocabulary
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from orature.core.errors import ConfigError
from orature.core.types import RATE_HZ
from orature.engines.characters import Characters
from orature.engines.families import Family, Start, families, family_of
from orature.engines.head_prior import HeadPrior
from orature.engines.network import CtcNetwork, Network
from orature.engines.phone_tokens import PhoneTokens
from orature.engines.vocabulary import CtcVocabulary, Vocabulary
from orature.train.config import TrainConfig
from orature.train.ctc import CtcLearner
from orature.train.freezing import Freezing
from orature.train.learner import Learner
from orature.train.loader import CACHE_MB, Example, Loader
from orature.train.masked_config import MaskedConfig
from orature.train.preference_config import Preferences
from orature.train.pseudo_config import PseudoConfig
from orature.train.speech import SpeechSource
from orature.train.speech_config import SpeechConfig

if TYPE_CHECKING:
    from orature.engines.network import Seq2SeqNetwork
    from orature.engines.seq2seq_vocabulary import Seq2SeqVocabulary

_PROMPT = 6
"""Room for the tokens around a text: start, language, task, end."""
ENCODER_DECODER, CONFORMER = "orature-encoder-decoder", "orature-conformer-ctc"
_FROM_NOTHING = {
    "conformer": CONFORMER,
    "transformer": "orature-transformer-ctc",
    "speech2text": "speech_to_text",
    "encoder-decoder": ENCODER_DECODER,
}


@dataclass(frozen=True, slots=True)
class Made:
    """A network with its vocabulary and task."""

    family: Family
    network: Network
    vocabulary: Vocabulary
    learner: Learner

    @property
    def steps(self) -> Callable[[int], int] | None:
        """Output steps a number of samples gives; None where the family needs no step a label."""
        return self.network.steps if isinstance(self.network, CtcNetwork) else None

    @property
    def step_ms(self) -> float:
        """Milliseconds an output step covers (0 for attention models)."""
        return 1000 * self.network.step_samples / RATE_HZ if isinstance(self.network, CtcNetwork) else 0.0

    @property
    def longest_s(self) -> float | None:
        """The longest utterance that the family can take; None: no bound."""
        return getattr(self.network, "max_seconds", None)

    @property
    def most_tokens(self) -> int | None:
        """The longest text that the family can write, in tokens; None: no bound."""
        most: int | None = getattr(self.network, "max_tokens", None)
        return None if most is None else most - _PROMPT

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.network.parameters())


@dataclass(frozen=True, slots=True)
class Job:
    """A run as data (it crosses process borders).

    `start` is a model folder (None: from nothing), `texts` the prepared training transcripts (the vocabulary is made
    from them alone), `languages` those of the training rows, `language` the target where the family asks for one.
    """

    config: TrainConfig
    texts: tuple[str, ...]
    languages: tuple[str, ...]
    start: str | None = None
    language: str | None = None
    subsampling: int = 4
    phones: tuple[str, ...] = ()
    """The tokens of a network from nothing that writes phones; (): the characters of `texts`."""
    speech: SpeechConfig | None = None
    """How examples without a recording are spoken."""
    speech_workers: int = 1
    """Processes that speak (how, not what)."""
    feature_weight: float = 0.0
    prior: HeadPrior | None = None
    """What the letters of a start that writes phones begin as; None: drawn."""
    pseudo: PseudoConfig | None = None
    """Labels for `unlabelled` while it trains."""
    masked: MaskedConfig | None = None
    """Masked prediction in place of transcripts; `config` then has its masks (`MaskedConfig.applied`)."""
    text: bool = False
    """Text alone: the decoder of an encoder-decoder of ours learns sentences that nobody speaks."""
    preference: Preferences | None = None
    """Preferences in place of transcripts, one choice for each of `train`; see `orature.train.preference`."""
    train: tuple[Example, ...] = field(default=(), repr=False)
    dev: tuple[Example, ...] = field(default=(), repr=False)
    unlabelled: tuple[Example, ...] = field(default=(), repr=False)

    def with_examples(self, train: list[Example], dev: list[Example]) -> Job:
        return replace(self, train=tuple(train), dev=tuple(dev))

    def make(self) -> Made:
        """The network and its task, the same in every process; raises ModelError, ConfigError."""
        torch.manual_seed(self.config.seed)
        family, network, vocabulary = self._from_nothing() if self.start is None else self._from_start(Path(self.start))
        return Made(family, network, vocabulary, self._learner(family, network, vocabulary))

    def _from_nothing(self) -> tuple[Family, Network, Vocabulary]:
        from orature.engines.conformer import ConformerConfig, ConformerCtc

        config = self.config
        if config.network == "speech2text":
            from orature.engines.speech2text import fresh

            writer, pieces = fresh(list(self.texts), cast(Any, config.size), seed=config.seed, languages=self.languages)
            return families()[_FROM_NOTHING[config.network]], writer, pieces
        if config.network == "encoder-decoder":
            return self._encoder_decoder()
        characters = PhoneTokens(self.phones) if self.phones else Characters.of(self.texts)
        family = families()[_FROM_NOTHING[config.network]]
        fields: dict[str, Any] = {"vocabulary": len(characters), "dropout": config.dropout}
        if config.network == "transformer":
            from orature.engines.transformer_ctc import TransformerConfig, TransformerCtc

            return family, TransformerCtc(TransformerConfig.of_size(cast(Any, config.size), **fields)), characters
        fields |= {"subsampling": self.subsampling, "normalisation": config.normalisation}
        return family, ConformerCtc(ConformerConfig.of_size(cast(Any, config.size), **fields)), characters

    def _encoder_decoder(self) -> tuple[Family, Network, Vocabulary]:
        from orature.engines.encoder_decoder_family import fresh

        config = self.config
        made = fresh(
            list(self.texts),
            cast(Any, config.size),
            languages=self.languages,
            dropout=config.dropout,
            subsampling=self.subsampling,
            normalisation=config.normalisation,
        )
        return families()[ENCODER_DECODER], *made

    def _from_start(self, folder: Path) -> tuple[Family, Network, Vocabulary]:
        config, family = self.config, _family_for(folder, self.config)
        if family.kind == "recogniser":
            raise ConfigError(
                f"{family.name} models can be used but not trained here",
                next_step="start from another family, for example a CTC model",
            )
        several = family.kind == "seq2seq" and self.languages
        start = Start(
            head=config.head,
            language=",".join(self.languages) if several else self.language,
            overrides=config.model_overrides,
            adapters=config.train_only == "adapters",
            prior=self.prior,
            parts=config.start_parts,
        )
        network, vocabulary = family.module().begin(folder, list(self.texts), start)
        if config.train_only == "lora":
            from orature.engines.lora import add_lora

            add_lora(network, rank=config.lora_rank)
        return family, network, vocabulary

    def _learner(self, family: Family, network: Network, vocabulary: Vocabulary) -> Learner:
        if self.masked is not None:
            return self._masked_learner(self.masked, family, network, vocabulary)
        if self.preference is not None:
            from orature.train.preference import preferring

            return preferring(replace(self, preference=None)._learner(family, network, vocabulary), self.preference)
        if family.kind == "ctc":
            ctc, characters = cast(CtcNetwork, network), cast(CtcVocabulary, vocabulary)
            return CtcLearner(ctc, characters, self.config, self.languages, self.feature_weight)
        from orature.train.joint import CTC_WEIGHT, JointLearner, refuse_ctc_weight
        from orature.train.seq2seq import Seq2SeqLearner

        weight, smoothing = self.config.ctc_weight, self.config.label_smoothing
        if family.name == "encoder-decoder":
            both, words = cast(Any, network), cast(Any, vocabulary)
            if self.text:
                from orature.train.decoder_text import TextLearner

                return TextLearner(both, words, label_smoothing=smoothing)
            weight = CTC_WEIGHT if weight is None else weight
            return JointLearner(both, words, ctc_weight=weight, label_smoothing=smoothing, language=self.language)
        refuse_ctc_weight(family.name, weight)
        writer, tokens = cast("Seq2SeqNetwork", network), cast("Seq2SeqVocabulary", vocabulary)
        return Seq2SeqLearner(writer, tokens, label_smoothing=smoothing)

    def _masked_learner(
        self, masked: MaskedConfig, family: Family, network: Network, vocabulary: Vocabulary
    ) -> Learner:
        from orature.engines.conformer import ConformerCtc
        from orature.train.masked import MaskedLearner

        if self.start is None or not isinstance(network, ConformerCtc):
            raise ConfigError(
                "masked prediction goes on from a Conformer of Orature's own",
                next_step="give such a model as the start",
            )
        teacher = family.module().load(Path(self.start))[0]
        return MaskedLearner(network, cast(CtcVocabulary, vocabulary), teacher, masked, self.config.seed)

    def loaders(self, made: Made, micro_seconds: float | None = None, *, processes: int = 1) -> tuple[Loader, Loader]:
        """Loaders of train and dev; several processes on a machine share the memory for decoded recordings."""
        if self.text:
            from orature.train.decoder_text import TextLoader

            return TextLoader(self.train, self.config, micro_seconds=micro_seconds), TextLoader(self.dev, self.config)
        space = tuple(made.vocabulary.encode(" "))
        speech = None if self.speech is None else SpeechSource(self.speech, workers=self.speech_workers)
        train = Loader(
            self.train,
            self.config,
            steps=made.steps,
            space=space,
            mask_bins=made.network.mask_bins,
            micro_seconds=micro_seconds,
            cache_mb=CACHE_MB / processes,
            speech=speech,
        )
        dev = Loader(self.dev, self.config, steps=made.steps, cache_mb=CACHE_MB / processes, speech=speech)
        return train, dev

    def pseudo_loop(self, made: Made, *, processes: int = 1) -> dict[str, Any]:
        """What `fit` is given besides where unlabelled speech is labelled in training; {} where not."""
        if self.pseudo is None:
            return {}
        from orature.train.pseudo import PseudoLoader, PseudoTrainer

        unlabelled = PseudoLoader(
            self.unlabelled,
            self.config,
            steps=made.steps,
            mask_bins=made.network.mask_bins,
            cache_mb=CACHE_MB / processes,
        )
        return {"trainer": PseudoTrainer, "pseudo": self.pseudo, "unlabelled": unlabelled}

    def freezing(self, made: Made) -> Freezing:
        found = Freezing.of(made.network, made.learner.module, self.config)
        if self.masked is None or self.masked.keep_weight > 0:
            return found
        return found.without(made.network.parts()["head"])


def _family_for(folder: Path, config: TrainConfig) -> Family:
    """The family of a start; a Conformer of ours becomes the encoder of an encoder-decoder where that is asked for.

    ConfigError where parts of a start are asked for that a CTC model does not have.
    """
    family = family_of(folder)
    if config.network == "encoder-decoder" and family == families()[CONFORMER]:
        return families()[ENCODER_DECODER]
    if config.start_parts != "all" and family.kind == "ctc":
        raise ConfigError(
            f"start_parts={config.start_parts} is for encoder-decoders, and this start is a CTC model ({family.name})",
            where=str(folder),
            next_step="leave start_parts out, or make an encoder-decoder of a Conformer: --set network=encoder-decoder",
        )
    return family
