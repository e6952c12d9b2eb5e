"""The pool of prompts: whose recordings may be in it, what they must be like, near-duplicates, joins, consent."""

from __future__ import annotations

import csv
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
import torch
from speech_samples import sentences, text_corpus

from orature.core.errors import CorpusError, ModelError
from orature.core.files import write_beside
from orature.core.types import RATE_HZ, AudioSpan, Utterance
from orature.data.audio import audio_digest, load, resampled, save_flac
from orature.data.corpus import Corpus, save_corpus
from orature.data.speaker_features import directions, speaker_features, threshold
from orature.engines.espeak_voice import EspeakSpeech
from orature.engines.voice import Speech, SpeechRequest
from orature.flow import Run, Store
from orature.flow.ref import Ref, Resources
from orature.recipes.speech_steps import SpeechWork, read_aloud
from orature.stages.inputs import corpus_ref
from orature.stages.prompts import NOT_STATED, MakePrompts, Prompt, embedder_ref, read_prompts
from orature.stages.speaker_embedding import embedder
from orature.stages.synthesis_plan import read_prompts as prompts_of_synthesis
from orature.testing.stage_contract import check_idempotent, check_identity

LONG = ["watoto wanne wanasoma kitabu kipya nyumbani leo asubuhi", "mama anapika chakula cha jioni na dada yake mkubwa"]
SHORT = [
    "habari za leo",
    "mimi ni mwalimu",
    "twende sokoni sasa",
    "samaki wangu wote",
    "chai na mkate",
    "wageni wanne walikuja",
]
Change = Callable[[Speech], Speech]


@pytest.fixture(scope="module")
def say() -> Iterator[Callable[[str, str], Speech]]:
    with EspeakSpeech() as voice:

        def spoken(text: str, speaker: str) -> Speech:
            outcome = voice.speak([SpeechRequest(text, language="sw", speaker=speaker)])[0]
            assert isinstance(outcome, np.ndarray), outcome
            return np.asarray(0.5 * resampled(outcome, voice.rate_hz), np.float32)

        yield spoken


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory, say: Callable[[str, str], Speech]) -> Path:
    """ann: f1, long and short; bo: m3, only short; cy: Andy, flawed; dee: f1 again under another name; eve: test."""
    folder = tmp_path_factory.mktemp("prompts") / "corpus"
    folder.mkdir()
    rows: list[tuple[Utterance, dict[str, Any]]] = []

    def add(name: str, speaker: str | None, text: str, samples: Speech, **more: Any) -> None:
        custom = more.pop("custom", {})
        path = folder / f"{name}.flac"
        save_flac(path, samples)
        span = AudioSpan(str(path), 0.0, len(samples) / RATE_HZ, audio_digest(samples))
        fields = {"language": "sw", "split": "train", "speaker": speaker, "licence": "CC0-1.0", "source": "made"} | more
        rows.append((Utterance(name, span, text, **fields), custom))

    for number, text in enumerate(LONG):
        add(f"ann{number}", "ann", text, say(text, "f1"), custom={"consent": "written, 2024"})
        add(f"dee{number}", "dee", text, say(text, "f1"))
    add("ann-short", "ann", SHORT[0], say(SHORT[0], "f1"))
    for number, text in enumerate(SHORT):
        add(f"bo{number}", "bo", text, say(text, "m3"), licence="CC0-1.0" if number % 2 else "CC-BY-4.0")
    plain = say(LONG[0], "Andy")
    add("cy-clipped", "cy", LONG[0], np.clip(6 * plain, -1, 1))
    add("cy-quiet", "cy", LONG[0], 0.005 * plain)
    add("cy-silent", "cy", LONG[0], np.concatenate([plain, np.zeros(8 * RATE_HZ, np.float32)]))
    add("cy-long", "cy", LONG[0], np.concatenate([plain] * 5))
    add("cy-made", "cy", LONG[0], plain, origin="synthetic")
    add(
        "cy-known",
        "cy",
        "dada yangu anakwenda mjini kesho asubuhi",
        say("dada yangu anakwenda mjini kesho asubuhi", "Andy"),
    )
    add("eve-train", "eve", LONG[1], say(LONG[1], "belinda"))
    add("eve-test", "eve", "dada yangu anakwenda mjini kesho asubuhi", say(LONG[1], "belinda"), split="test")
    save_corpus(lambda name: write_beside(folder / name), rows, [])
    return folder


def _pool(stage: MakePrompts, folder: Path) -> tuple[Path, list[Prompt], dict[str, str]]:
    store = Store(folder)
    run = Run(store, "prompts", "test")
    ref = run.do(stage, on=Resources(progress=False))
    place = run.path_of(ref)
    rejects = [json.loads(line) for line in (place / "rejects.jsonl").read_text("utf-8").splitlines()]
    return place, read_prompts(place), {row["id"]: row["reason"] for row in rejects}


def test_who_is_in_it_and_why_others_are_not(corpus: Path, tmp_path: Path) -> None:
    ref = corpus_ref(corpus)
    folder, prompts, rejects = _pool(MakePrompts(corpus=ref, embargo=ref, per_speaker=2), tmp_path / "store")
    assert Counter(prompt.speaker for prompt in prompts) == {"ann": 2, "bo": 2}
    assert rejects == {
        "ann-short": "enough",
        "dee0": "near-duplicate",
        "dee1": "near-duplicate",
        "cy-clipped": "clipped",
        "cy-quiet": "quiet",
        "cy-silent": "mostly-silent",
        "cy-long": "too-long",
        "cy-made": "synthetic",
        "cy-known": "embargo-sentence",
        "eve-train": "speaker-held-out",
    }
    for prompt in prompts:
        samples = load(prompt.path)
        assert len(samples) / RATE_HZ == pytest.approx(prompt.duration_s) and 3 <= prompt.duration_s <= 16
    assert set(prompts_of_synthesis(folder)) == {"ann", "bo"}, "the stage of synthesis takes the pool as it is"
    assert not Corpus.open(folder).verify()


def test_short_recordings_are_joined_in_words_and_sound(corpus: Path, tmp_path: Path) -> None:
    _, prompts, _ = _pool(MakePrompts(corpus=corpus_ref(corpus), per_speaker=2, pause_seconds=0.5), tmp_path / "store")
    texts = {row.id: row.text or "" for row in Corpus.open(corpus)}
    seconds = {row.id: row.audio.duration_s for row in Corpus.open(corpus)}
    joined = [prompt for prompt in prompts if prompt.speaker == "bo"]
    assert joined and all(len(prompt.parts) > 1 for prompt in joined)
    for prompt in joined:
        assert prompt.text == " ".join(texts[part] for part in prompt.parts)
        pauses = 0.5 * (len(prompt.parts) - 1)
        assert prompt.duration_s == pytest.approx(sum(seconds[part] for part in prompt.parts) + pauses, abs=0.01)
    licences = {row.id: row.licence for row in Corpus.open(corpus)}
    for prompt in joined:
        assert set(prompt.licence.split(" and ")) == {licences[part] for part in prompt.parts}


def test_consent_is_told_or_not_stated(corpus: Path, tmp_path: Path) -> None:
    _, prompts, _ = _pool(MakePrompts(corpus=corpus_ref(corpus)), tmp_path / "store")
    said = {prompt.speaker: prompt.consent for prompt in prompts}
    assert said["ann"] == "written, 2024" and said["bo"] == NOT_STATED


def test_prompts_of_one_speaker_may_be_compared_too(corpus: Path, tmp_path: Path) -> None:
    stage = MakePrompts(corpus=corpus_ref(corpus), within_speaker=True, alike=0.3)
    _, prompts, rejects = _pool(stage, tmp_path / "store")
    assert Counter(prompt.speaker for prompt in prompts)["ann"] == 1
    assert "near-duplicate" in {reason for row, reason in rejects.items() if row.startswith("ann")}


def test_a_pool_that_would_be_empty_says_why(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"no train recording can be a prompt.*too-short"):
        _pool(MakePrompts(corpus=corpus_ref(corpus), min_seconds=15, max_seconds=15.5), tmp_path / "store")
    with pytest.raises(CorpusError, match="no pool of prompts"):
        read_prompts(corpus)


def test_it_holds_the_contract_of_stages(corpus: Path, tmp_path: Path) -> None:
    stage = MakePrompts(
        corpus=corpus_ref(corpus), per_speaker=1, embedder=Ref(key="external", stage="e", digest="ab" * 32)
    )
    check_identity(stage)
    check_idempotent(stage.model_copy(update={"embedder": None}), tmp_path / "twice")


@pytest.mark.parametrize("kind", ["WavLMForXVector", "Wav2Vec2ForXVector"])
def test_a_network_of_speakers_takes_the_place_of_the_stand_in(
    corpus: Path, tmp_path: Path, kind: str, say: Callable[[str, str], Speech]
) -> None:
    import transformers

    config = getattr(transformers, kind.replace("ForXVector", "Config"))(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16, conv_dim=(16, 16),
        conv_kernel=(10, 8), conv_stride=(20, 16), num_feat_extract_layers=2, num_conv_pos_embeddings=4,
        num_conv_pos_embedding_groups=2, tdnn_dim=(16, 16, 16, 16, 32), xvector_output_dim=8,
    )  # fmt: skip
    torch.manual_seed(0)
    folder = tmp_path / "network"
    getattr(transformers, kind)(config).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder)
    network = embedder(folder)
    assert network.trained and network.threshold == 0.8 and network.name.startswith(kind)
    vector = network.vector(say(LONG[0], "f1"))
    assert vector.shape == (8,) and np.array_equal(vector, network.vector(say(LONG[0], "f1")))
    stage = MakePrompts(corpus=corpus_ref(corpus), embedder=embedder_ref(folder), alike=1.0)
    _, prompts, _ = _pool(stage, tmp_path / "store")
    assert {"ann", "bo"} <= {prompt.speaker for prompt in prompts}
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="no weights in safetensors"):
        embedder_ref(folder)
    with pytest.raises(ModelError, match="no readable config"):
        embedder(tmp_path)


@pytest.mark.corpora
def test_the_stand_in_tells_real_speakers_apart(corpora: Path) -> None:
    """At its threshold most pairs of one speaker are above, most of two below, on speakers of another corpus too."""
    for name, least_same, most_other in (("speech_commands", 0.6, 0.04), ("digits_fsdd", 0.5, 0.0)):
        vectors, speakers = _joined_clips(corpora / name, speakers=20)
        towards = directions(vectors, speakers)
        above = towards @ towards.T > threshold()
        upper = np.triu_indices(len(speakers), 1)
        same = np.array([[one == other for other in speakers] for one in speakers])[upper]
        found = above[upper]
        assert found[same].mean() > least_same and found[~same].mean() <= most_other, name


def _joined_clips(folder: Path, *, speakers: int, seconds: float = 3.0) -> tuple[list[Any], list[str]]:
    clips: dict[str, list[tuple[str, float]]] = defaultdict(list)
    with (folder / "manifest.tsv").open(encoding="utf-8") as lines:
        for row in csv.DictReader(lines, delimiter="\t"):
            if row["split"] == "train":
                clips[row["speaker"]].append((row["path"], float(row["seconds"])))
    vectors: list[Any] = []
    names: list[str] = []
    for speaker in sorted(clips)[: 2 * speakers]:
        parts: list[str] = []
        total, made = 0.0, 0
        for path, length in clips[speaker]:
            parts.append(path)
            total += length
            if total >= seconds and made < 3:
                vectors.append(speaker_features(np.concatenate([load(folder / part) for part in parts])))
                names.append(speaker)
                parts, total, made = [], 0.0, made + 1
    return vectors, names


def test_a_voice_that_only_imitates_is_given_the_pool(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orature.engines.fake_voice.FakeVoice.speakers", lambda self, language: [""])
    done: list[Any] = []

    def do(stage: Any, on: Any) -> Ref:
        done.append(stage)
        return Ref(key="external", stage=stage.name, digest=f"{len(done):064x}", path=str(corpus))

    work = SimpleNamespace(
        settings=SimpleNamespace(voice="fake", speech={}),
        on=Resources(progress=False),
        run=SimpleNamespace(do=do),
        splits=corpus_ref(corpus),
        language="sw",
        seed=1,
    )
    read_aloud(cast("SpeechWork", work), text_corpus(tmp_path / "text", sentences(2)), split="train")
    pool, speech = done
    assert isinstance(pool, MakePrompts) and pool.corpus == pool.embargo == work.splits
    assert speech.prompts.stage == "prompts" and speech.embargo == work.splits
