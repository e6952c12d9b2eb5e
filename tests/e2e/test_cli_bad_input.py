"""Bad input of every kind to every command: exit code 2 (1 where the work failed), a sentence with a next step."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from speech_bad_input import SPEECH_CASES
from speech_samples import sentences, text_corpus
from tiny import LATIN, corpus_of, model_in
from typer.testing import CliRunner, Result

from orature.cli.main import build
from orature.stages import train as train_stage
from tests.integration.tones import make_corpus
from tests.ratchets.surface import commands

ROOT = Path(__file__).resolve().parents[2]
MICRO = "--set size=micro --set updates=4 --set evaluate_every=2 --set overfit_clips=0 --set batch_seconds=6"

OPTION_FILES = {
    "typo.yaml": "soruce: plain\n",
    "broken.yaml": "source: [1\n",
    "list.yaml": "- source\n",
    "seed.yaml": "source: plain\nseed: abc\n",
    "threads.yaml": "source: plain\nthreads: many\n",
    "train.yaml": "source: plain\ntrain: 5\n",
    "deep.yaml": "source: plain\ntrain: {udpates: 4}\n",
    "split.yaml": "source: plain\nsplit: {stratgy: random}\n",
    "lang.yaml": "source: plain\nlang: 5\n",
}

SOURCES = [
    (2, "nothing", "no such file or folder"),
    (2, "empty", "nothing in it"),
    (2, "note.tar.gz", "no archive, whatever its name says"),
    (2, "note.zip", "no archive"),
    (2, "note.txt", "nothing in it is understood"),
    (2, "cut.tar.gz", "cut off or damaged"),
    (2, "escape.tar.gz", "nothing in it"),
    (2, "no_header", "no column that names the audio"),
    (2, "plain --format klingon", "did you mean plain"),
    (2, "plain --format commonvoice", "no folder with clips"),
    (2, "plain --lang ???", "not a language tag"),
    (1, "no_audio", "1 of 1 rows cannot be used.*audio-missing"),
]
"""Of `up SOURCE` and `ingest SOURCE`."""

CASES = [
    *((code, f"up {source} --to out", says) for code, source, says in SOURCES),
    *((code, f"ingest {source} --to new", says) for code, source, says in SOURCES),
    (2, "train-translator nothing.tsv --from es --to-lang qu --to out", "no such file or folder"),
    (2, "train-translator note.txt --from es --to-lang qu --to out", "next: "),
    (2, "translate nothing.txt --into qu --to out --translator fake", "no such file or folder"),
    (2, "translate plain --into qu --to out --translator fake", "holds no corpus"),
    (2, "up", "which corpus"),
    (2, "up plain --to out --scale huge", "smoke, dev or full"),
    (2, "up plain --to out --dry-run --scale huge", "smoke, dev or full"),
    (2, "up plain --to out --set updates", "no assignment.*--set name=value"),
    (2, "up plain --to out --set udpates=4", "did you mean 'updates'"),
    (2, "up plain --to out --dry-run --set udpates=4", "did you mean 'updates'"),
    (2, "up plain --to out --set augment.wrap=0.1", "did you mean 'warp'"),
    (2, "up plain --to out --set augment=3", "train.augment"),
    (2, "up plain --to out --set updates=many", "train.updates.*'many'"),
    (2, "up plain --to out --set updates=0", "greater than or equal to 1"),
    (2, "up plain --to out --set updates=[", "cannot be read"),
    (2, "up plain --to out --set updates=1 --set updates.x=1", "leave one of the two out"),
    (2, "up plain --to out --set size=huge", "no size 'huge'.*micro, tiny"),
    (2, "up plain --to out --device warp", "no device 'warp'"),
    (2, "up plain --to out --seed x", "--seed"),
    (2, "up plain --to note.txt", "is a file"),
    (2, "up plain --to note.txt/deeper", "is a file"),
    (2, "up plain --to out --store note.txt", "not a folder"),
    (2, "up --config nothing.yaml", "cannot be read"),
    (2, "up --config empty", "cannot be read"),
    (2, "up --config latin1.yaml", "cannot be read"),
    (2, "up --config typo.yaml", "did you mean 'source'"),
    (2, "up --config broken.yaml", "not YAML"),
    (2, "up --config list.yaml", "holds no options"),
    (2, "up --config seed.yaml", "'seed' must be a whole number"),
    (2, "up --config threads.yaml", "'threads' must be a whole number"),
    (2, "up --config train.yaml", "'train' must hold options"),
    (2, "up --config deep.yaml", "did you mean 'updates'"),
    (2, "up --config split.yaml", "did you mean 'strategy'"),
    (2, "up --config lang.yaml", "not a language tag"),
    (2, "up plain --to out --start nothing", "no such model folder"),
    (2, "up plain --to out --start some/model", "nothing is downloaded without permission"),
    (2, "up plain --to out --start strange_model", "not known"),
    (2, "up plain --to out --guard nothing", "no corpus.json"),
    (2, "up plain --to out --rehearse empty", "no corpus.json"),
    (2, "up plain --to out --text nothing.txt", "no such text file"),
    (2, "up plain --to out --with pseudo_label --text note.txt", "orature run pseudo_label"),
    (2, "up plain --to out --with lmm --text note.txt", "did you mean 'lm'"),
    (2, "up plain --to out --with back_translation", "needs text"),
    (2, "up plain --to out --with back_translation --text nothing.txt --dry-run", "no such text"),
    (2, "up plain --to out --with back_translation --text note.txt --voice espaek --dry-run", "did you mean 'espeak'"),
    (2, "train corpus --to out --start nothing", "no such model folder"),
    (2, "train corpus corpus --to out", "name"),
    (2, "pretrain corpus --to out", "none is given.*--start MODEL_FOLDER"),
    (2, "pretrain corpus --to out --start nothing", "no such model folder"),
    (2, "pretrain corpus --to out --start other_model", "only Orature's own Conformer"),
    (2, "pretrain corpus --to out --start strange_model", "not known"),
    (2, "pretrain corpus --to out --start cut_weights --dry-run", "weights cannot be read"),
    (2, "pretrain corpus --to out --start cut_weights", "weights cannot be read"),
    (2, "pretrain nothing --to out --start model", "no corpus.json"),
    (2, "pretrain test_only --to out --start model", "no speech to learn from: 3 test-never-heard"),
    (2, "pretrain test_only --to out --start model --dry-run", "no speech to learn from"),
    (2, "pretrain corpus --to out --start model --embargo nothing", "no corpus.json"),
    (2, "pretrain corpus --to out --start model --set updtaes=3", "did you mean 'updates'"),
    (2, "pretrain corpus --to out --start model --set head=new", "no option 'head'"),
    (2, "pretrain corpus --to out --start model --set keep_weight=-1", "keep_weight"),
    (2, "pretrain corpus --to out --start model --set mask_start=0.5", "would cover all"),
    (2, "pretrain corpus --to out --start model --scale huge", "smoke, dev or full"),
    (2, "pretrain corpus --to out --start model --device warp", "no device"),
    (2, "pretrain corpus --to note.txt/x --start model", "is a file"),
    (1, "pretrain corpus --to model --start model", "not Orature's"),
    (2, "average model model --to note.txt/x", "is a file"),
    (2, "average model nothing --to out", "no such model folder"),
    (2, "export nothing --to exported", "no such model folder"),
    (2, "export model --to exported --as docx", "onnx"),
    (1, "export model --to corpus", "not Orature's"),
    (2, "export model --to exported --corpus nothing", "no corpus.json"),
    (2, "voices --lang ???", "not a language tag"),
    (2, "voices --voice klingon", "no voice 'klingon'"),
    (2, "voices --voice vits:nothing", "no such model folder"),
    (2, "voices add klingon", "no environment to make for 'klingon'"),
    (2, "voices add xtts --env env", "licence that you must accept.*--accept-licence"),
    (2, "voices add xtts --accept-licence --python nothing", "no program 'nothing'"),
    (2, "voices add omnivoice --convert model", "nothing to convert"),
    (2, "voices add omnivoice --env plain", "holds something else"),
    (2, "voices say fake abc", "where to"),
    (2, "voices say fake abc --to out.wav --lang xx", "cannot read 'xx'"),
    (2, "voices say fake abc --to out.wav --prompt nothing", "no such prompt"),
    (2, "voices say xtts:empty abc --to out.wav", "no config.json"),
    (1, "voices say fake abc --to out.wav --speaker bass", "unknown-speaker"),
    *SPEECH_CASES,
    (2, "lm --to out", "no text"),
    (2, "lm nothing.txt --to out", "no such text file"),
    (2, "lm corpus/0.flac --unit syllable --to out", "no unit 'syllable'"),
    (2, "tune nothing corpus --to out", "no such model folder"),
    (2, "tune model corpus --to out --metric ser", "wer or cer"),
    (2, "tune model corpus --to out --lm nothing", "nothing"),
    (2, "run", "recipe"),
    (2, "run multilinguall corpus", "multilingual"),
    (2, "run multilingual nothing --to out", "no such file or folder"),
    (2, "run back_translate --to out", "which corpus"),
    (2, "run back_translate a b --to out --set text=note.txt", "which corpus"),
    (2, "run back_translate plain --to out", "which text"),
    (2, "run back_translate plain --to out --set text=nothing.txt", "no such text"),
    (2, "run back_translate plain --to out --set text=note.txt --set ratois=2", "did you mean 'ratios'"),
    (2, "run back_translate plain --to out --set text=note.txt --set ratios=0", "above 0"),
    (2, "run back_translate plain --to out --set text=note.txt --set udpates=4", "did you mean 'updates'"),
    (2, "run back_translate plain --to out --set text=note.txt --set judge=nothing", "no such model folder"),
    (2, "run back_translate plain --to out --set synthetic=nothing", "no corpus.json"),
    (2, "run back_translate plain --to out --set text=note.txt --set voice=espaek", "no voice 'espaek'"),
    (2, "run calibrate corpus --to out --set synthetic=corpus", "who judges"),
    (2, "demo --corpus nothing --to out", "no such file or folder"),
    (2, "demo --corpus cut.tar.gz --to out", "cut off or damaged"),
    (2, "demo --to note.txt", "is a file"),
    (2, "ingest plain", "--to"),
    (2, "ingest plain --to out --max-seconds 0", "above 0"),
    (2, "ingest plain --to note.txt/x", "is a file"),
    (1, "ingest plain --to model", "not Orature's"),
    (2, "check nothing", "no corpus.json"),
    (2, "check empty", "no corpus.json"),
    (2, "check broken_corpus", "corpus.json cannot be read"),
    (2, "check half_corpus", "lacks digest"),
    (2, "check damaged_corpus", "damaged"),
    (2, "check corpus --against nothing", "no corpus.json"),
    (2, "check corpus --text nothing.txt", "cannot be read"),
    (2, "split nothing --to out", "no corpus.json"),
    (2, "split corpus --to out --strategy maybe", "--strategy"),
    (2, "split corpus --to out --dev-share 2", "--dev-share"),
    (2, "split corpus --to out --kfold 5000", "fewer folds"),
    (2, "split corpus --to note.txt/x", "is a file"),
    (2, "train nothing --to new", "no corpus.json"),
    (2, "train empty --to out", "no corpus.json"),
    (2, f"train damaged_corpus --to new --store fresh {MICRO}", "damaged"),
    (2, "train corpus --to out --scale huge", "smoke, dev or full"),
    (2, "train corpus --to out --set udpates=4", "did you mean 'updates'"),
    (2, "train corpus --to out --set updates", "no assignment"),
    (2, "train corpus --to out --set updates=many", "'many'"),
    (2, "train corpus --to note.txt/x", "is a file"),
    (1, "train corpus --to model", "not Orature's"),
    (2, "train corpus --to out --device warp", "no device"),
    (2, "evaluate nothing corpus", "no such model folder"),
    (2, "evaluate other_model corpus", "no output layer"),
    (2, "evaluate cut_weights corpus", "weights cannot be read"),
    (2, "evaluate model nothing", "no corpus.json"),
    (2, "evaluate model corpus --split final", "no split 'final'"),
    (2, "evaluate model corpus --split unlabelled", "choose one of dev, test, train"),
    (2, "evaluate model corpus --normaliser nope", "nope"),
    (2, "evaluate model corpus --to note.txt", "is a file"),
    (2, "evaluate model corpus --device warp", "no device"),
    (2, "compare nothing empty", "no such report folder"),
    (2, "compare empty empty", "no score.json"),
    (2, "compare scores other_scores", "different test sets"),
    (2, "transcribe nothing corpus/0.flac", "no such model folder"),
    (2, "transcribe broken_config corpus/0.flac", "no readable config.json"),
    (2, "transcribe list_config corpus/0.flac", "no names with values"),
    (2, "transcribe odd_config corpus/0.flac", "vocabulary"),
    (2, "transcribe no_weights corpus/0.flac", "weights cannot be read"),
    (2, "transcribe cut_weights corpus/0.flac", "weights cannot be read"),
    (2, "transcribe other_weights corpus/0.flac", "do not fit config.json"),
    (2, "transcribe no_vocabulary corpus/0.flac", "vocabulary cannot be read"),
    (2, "transcribe odd_vocabulary corpus/0.flac", "must number its tokens"),
    (2, "transcribe broken_facts corpus/0.flac", "facts cannot be read"),
    (2, "transcribe odd_facts corpus/0.flac", "names with texts"),
    (2, "transcribe model nothing.wav", "no such file"),
    (2, "transcribe model noise.wav", "decoder gives up"),
    (2, "transcribe model zero.wav", "no bytes"),
    (2, "transcribe model empty", "cannot be opened"),
    (2, "transcribe model -", "no bytes"),
    (2, "transcribe model corpus/0.flac --as docx", "txt, json, srt, vtt"),
    (2, "transcribe model corpus/0.flac --to note.txt/x", "is a file"),
    (2, "transcribe model", "FILE"),
    (2, "report nothing", "no such report folder"),
    (2, "report empty", "no score.json"),
    (2, "report scores --to note.txt/x.html", "is a file"),
    (2, "why zz --store nothing", "no store at"),
    (2, "why zz --store store", "at least 6"),
    (2, "why 123456 --store store", "no artefact begins"),
    (2, "runs --store nothing", "no store at"),
    (2, "store check --store note.txt", "not a folder"),
    (2, "store gc --store nothing", "no store at"),
    (2, "store gc --keep-days -1", "--keep-days"),
    (2, "doctor nothing", "no folder nothing"),
    (2, "doctor empty", "neither a model folder"),
    (2, "doctor corpus corpus", "two corpus folders"),
    (2, "doctor broken_corpus", "corpus.json cannot be read"),
    (2, "doctor model corpus --device warp", "no device"),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one of each kind of broken thing, and a few good ones beside them."""
    root = tmp_path_factory.mktemp("world")
    for name in ("empty", "no_header", "no_audio", "broken_corpus", "half_corpus", "damaged_corpus", "store"):
        (root / name).mkdir()
    for name in ("note.txt", "note.tar.gz", "note.zip"):
        (root / name).write_text("this is no archive", encoding="utf-8")
    for name, text in OPTION_FILES.items():
        (root / name).write_text(text, encoding="utf-8")
    (root / "latin1.yaml").write_bytes(b"source: \xff\n")
    (root / "noise.wav").write_bytes(b"RIFF and then nothing that makes sense")
    (root / "zero.wav").touch()
    (root / "no_header" / "manifest.tsv").write_text("pth\tsentnce\nx.wav\thello\n", encoding="utf-8")
    (root / "no_audio" / "manifest.tsv").write_text("path\tsentence\nx.wav\thello\n", encoding="utf-8")
    make_corpus(root / "plain")
    text_corpus(root / "texts", sentences(4))
    _archives(root)
    corpus = corpus_of(root / "corpus", LATIN)
    corpus_of(root / "other_corpus", LATIN[::-1])
    corpus_of(root / "test_only", LATIN[:3], split="test")
    (root / "broken_corpus" / "corpus.json").write_text("{", encoding="utf-8")
    (root / "half_corpus" / "corpus.json").write_text('{"format": 1}', encoding="utf-8")
    shutil.copy(corpus / "corpus.json", root / "damaged_corpus")
    for name in ("half_corpus", "damaged_corpus"):
        (root / name / "cuts.jsonl.gz").write_bytes(b"no gzip")
    _models(root)
    for name, scores in (("corpus", "scores"), ("other_corpus", "other_scores")):
        done = run(f"evaluate model {name} --to {scores} --store store --device cpu --threads 1", root)
        assert done.exit_code == 0, done.output
    return root


def _archives(root: Path) -> None:
    with tarfile.open(root / "whole.tar.gz", "w:gz") as archive:
        archive.add(root / "plain", "plain")
    whole = (root / "whole.tar.gz").read_bytes()
    (root / "cut.tar.gz").write_bytes(whole[: len(whole) // 2])
    with tarfile.open(root / "escape.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("../../evil.wav")
        member.size = 4
        archive.addfile(member, io.BytesIO(b"evil"))


def _models(root: Path) -> None:
    model = model_in(root / "model", LATIN)
    weights = (model / "model.safetensors").read_bytes()
    config = json.loads((model / "config.json").read_text("utf-8"))
    wrong: dict[str, tuple[str, bytes | str | None]] = {
        "broken_config": ("config.json", "{"),
        "list_config": ("config.json", "[1]"),
        "odd_config": ("config.json", json.dumps({**config, "vocabulary": "many"})),
        "other_model": ("config.json", '{"model_type": "wav2vec2"}'),
        "strange_model": ("config.json", '{"model_type": "telepathy"}'),
        "other_weights": ("config.json", json.dumps({**config, "width": 48})),
        "no_weights": ("model.safetensors", None),
        "cut_weights": ("model.safetensors", weights[: len(weights) // 2]),
        "no_vocabulary": ("vocab.json", None),
        "odd_vocabulary": ("vocab.json", '{"a": 0}'),
        "broken_facts": ("orature.json", "{"),
        "odd_facts": ("orature.json", '{"languages": 3}'),
    }
    for name, (file, content) in wrong.items():
        shutil.copytree(model, root / name)
        if content is None:
            (root / name / file).unlink()
        else:
            (root / name / file).write_bytes(content.encode() if isinstance(content, str) else content)


def run(line: str, folder: Path, stdin: bytes = b"") -> Result:
    """The command in this process, in `folder`; an exception that comes out is shown as the test's failure."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        done = CliRunner().invoke(build(), shlex.split(line), input=stdin)
    finally:
        os.chdir(before)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise AssertionError(f"`orature {line}` ended with a traceback") from done.exception
    return done


@pytest.fixture(autouse=True)
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bad options must be seen before training begins: its first line reads the corpus, its second may not come."""
    real = train_stage.gather

    def only_read(*corpora: object) -> object:
        real(*corpora)  # type: ignore[arg-type]
        raise AssertionError("training began")

    monkeypatch.setattr(train_stage, "gather", only_read)


@pytest.mark.parametrize("flag", ["", " --json"])
@pytest.mark.parametrize(("code", "line", "says"), CASES, ids=[line for _, line, _ in CASES])
def test_a_sentence_and_an_exit_code(world: Path, code: int, line: str, says: str, flag: str) -> None:
    shutil.rmtree(world / "out", ignore_errors=True)  # a store that another case left there
    done = run(line + flag, world)
    told = " ".join(done.stderr.split())
    assert done.exit_code == code, done.output
    assert re.search(says, told), told
    assert "Traceback" not in done.output
    assert "next: " in told or told.startswith("Usage: orature"), "what to do next"
    if flag and done.stdout:
        json.loads(done.stdout)
    assert not (world.parent / "evil.wav").exists() and not (world / "out" / "model").exists()


def test_every_command_is_here() -> None:
    tried = {line for _, line, _ in CASES}
    missing = [name for name, _ in commands() if not any(f"orature {line}".startswith(name) for line in tried)]
    assert not missing


def test_members_that_escape_are_rejected_and_the_rest_is_kept(world: Path, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "mixed.tar.gz", "w:gz") as archive:
        archive.add(world / "plain", "plain")
        member = tarfile.TarInfo("../evil.wav")
        archive.addfile(member, io.BytesIO(b""))
    done = run("ingest mixed.tar.gz --to corpus --json", tmp_path)
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)["rows"]
    assert rows["kept"] == 36 and rows["total"] == rows["kept"] + sum(rows["rejected"].values()) == 37
    assert not (tmp_path.parent / "evil.wav").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("up", "nothing", "--to", "out"), "no such file or folder"),
        (("transcribe", "model", "-"), "no bytes"),
        (("transcribe", "cut_weights", "corpus/0.flac", "--json"), "weights cannot be read"),
        (("up", "--config", "typo.yaml", "--json"), "did you mean 'source'?"),
    ],
)
def test_the_same_in_a_process_of_its_own(world: Path, arguments: Sequence[str], says: str) -> None:
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", "orature", *arguments]
    done = subprocess.run(command, cwd=world, env=env, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    told = done.stderr.decode()
    assert done.returncode == 2 and says in told and "next: " in told
    assert "Traceback" not in told and not done.stdout
