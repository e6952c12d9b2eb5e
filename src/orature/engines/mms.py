"""MMS: wav2vec 2.0 with a small adapter in every layer and an output layer for each language (Pratap et al. 2023).

An adapter is a bottleneck at the end of each layer (layer norm, down, ReLU, up, added back);
`adapter.<lang>.safetensors` holds the adapters and the output layer of one language, `vocab.json` one vocabulary for
each. A language that is added leaves every other one as it was. Only training that leaves the body alone
(`Start(adapters=True)`) can keep the other languages: otherwise the folder that is written holds the trained one only.

Example::

    network, vocabulary = load(Path("mms-1b-all"), language="quz")
    network, vocabulary = begin(Path("mms-1b-all"), ["shuk wasi"], Start(language="qvi", adapters=True))
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from orature.core.errors import ModelError
from orature.engines.families import Start
from orature.engines.hf_ctc import finish, folder_files, lengthened, needs_head, write_state
from orature.engines.hf_folder import WHOLE, read_json, shapes_of
from orature.engines.hf_vocabulary import HfVocabulary, is_nested, vocabulary_table
from orature.engines.lora import plain_state
from orature.engines.mms_languages import adapter_for, near
from orature.engines.vocabulary import CtcVocabulary, Files
from orature.engines.wav2vec2_network import Wav2Vec2Ctc, read_network

_ENGLISH = "eng"
State = dict[str, Tensor]


class MmsCtc(Wav2Vec2Ctc):
    """wav2vec 2.0 with the adapters of one language in place; `kept` are languages to write beside it."""

    def __init__(self, model: nn.Module, extractor: dict[str, Any]) -> None:
        super().__init__(model, extractor)
        self.language: str | None = None
        self.kept: dict[str, Path | State] = {}

    def adapter_state(self) -> State:
        """The adapters and the output layer, under the names of an adapter file (LoRA merged)."""
        state = plain_state(self.model)
        return {name: value for name, value in state.items() if _of_adapter(name)}

    def put_adapter(self, state: State, where: Path) -> None:
        """Puts a language's adapters and output layer in place; ModelError when they do not fit."""
        mine = self.adapter_state()
        heads = (f"{self.head_name}.weight", f"{self.head_name}.bias")
        unlike = [n for n in mine if n not in state or (n not in heads and mine[n].shape != state[n].shape)]
        extra = [name for name in state if name not in mine]
        if unlike or extra:
            raise ModelError(
                f"the adapter does not fit the model: {(unlike + extra)[0]}", where=str(where), next_step=WHOLE
            )
        self.put_head(self.fresh_head(state[heads[0]].shape[0]))
        self.model.load_state_dict({name: value.float() for name, value in state.items()}, strict=False)

    def fresh_adapters(self) -> None:
        """Draws the adapters anew as the reference does: weights normal, biases 0, layer norm at rest."""
        deviation = float(self.config.initializer_range)
        for module in self.model.modules():
            if hasattr(module, "adapter_layer"):
                adapter = cast(Any, module).adapter_layer
                adapter.norm.reset_parameters()
                for linear in (adapter.linear_1, adapter.linear_2):
                    nn.init.normal_(linear.weight, std=deviation)
                    nn.init.zeros_(linear.bias)


def _of_adapter(name: str) -> bool:
    return ".adapter_layer." in name or name.startswith(f"{Wav2Vec2Ctc.head_name}.")


def load(folder: Path, *, language: str | None = None) -> tuple[Wav2Vec2Ctc, CtcVocabulary]:
    """The network with the adapters of `language` and its vocabulary.

    Without `language` the one that the tokenizer names, else English. ModelError lists near ones where there is none.
    """
    network = _body(folder, Start())
    if not is_nested(vocabulary_table(folder)):
        return network, _vocabulary(network, folder, None)
    code = _known(folder, language or _default(folder))
    if code is None:
        raise _unknown(folder, language or _default(folder))
    _put(network, folder, code)
    return network, _vocabulary(network, folder, code)


def begin(folder: Path, texts: Sequence[str], start: Start) -> tuple[Wav2Vec2Ctc, CtcVocabulary]:
    """The network ready to learn `start.language`, and its vocabulary.

    A language that the checkpoint has starts from its adapters with rows added for new characters ("auto", "extend"),
    as it is ("keep"), or with adapters and rows drawn anew over the same, lengthened vocabulary ("new"). One that it
    lacks gets new adapters, rows and vocabulary whatever `start.head` says, but there is nothing to "keep". With
    `start.adapters` everything else stands still.
    """
    network = _body(folder, start)
    head = start.head
    if is_nested(vocabulary_table(folder)):
        code, old = _language_to_train(network, folder, start)
        head = "new" if code is None else head
        if not start.adapters:
            old, network.kept = replace(old, others={}), {}
    else:
        old = _vocabulary(network, folder, None)
    vocabulary = old if head == "keep" else old.extended([" ", *texts])
    if head == "new":
        network.fresh_adapters()
        network.put_head(network.fresh_head(len(vocabulary)))
    elif len(vocabulary) > len(old):
        lengthened(network, len(vocabulary))
    if start.adapters:
        network.requires_grad_(False)
        for part in ("adapters", "head"):
            for parameter in network.parts()[part]:
                parameter.requires_grad_(True)
    finish(network, vocabulary, start)
    return network, vocabulary


def _language_to_train(network: MmsCtc, folder: Path, start: Start) -> tuple[str | None, HfVocabulary]:
    """Code of the language in the checkpoint (None: it lacks it) and the vocabulary to begin with."""
    if start.language is None:
        raise ModelError(
            "this checkpoint has an adapter for each language, and the language to train is not named",
            where=str(folder),
            next_step="name the language of the transcripts, for example --language quz",
        )
    code = _known(folder, start.language)
    if code is not None:
        _put(network, folder, code)
        return code, _vocabulary(network, folder, code)
    if start.head == "keep":
        raise _unknown(folder, start.language)
    _put(network, folder, start.language)
    return None, HfVocabulary.of_language(folder, start.language)


def files(network: MmsCtc, vocabulary: CtcVocabulary) -> Files:
    """The model folder: the trained language in place, its adapter file, and the adapter files of all that are kept."""
    found = folder_files(network, vocabulary)
    for code, kept in network.kept.items():
        found[_adapter_file(code)] = partial(_copy, kept) if isinstance(kept, Path) else partial(write_state, kept)
    if network.language is not None:
        found[_adapter_file(network.language)] = lambda path: write_state(network.adapter_state(), path)
    return found


def _copy(source: Path, path: Path) -> None:
    try:
        shutil.copyfile(source, path)
    except FileNotFoundError as error:
        raise ModelError(
            "the checkpoint that the training began from is gone, and with it the adapters of its other languages",
            where=str(source),
            next_step="put the folder back where it was and run the same command again",
        ) from error


def _body(folder: Path, start: Start) -> MmsCtc:
    rows = needs_head(folder, shapes_of(folder), MmsCtc.head_name)
    return cast(MmsCtc, read_network(folder, start, rows, MmsCtc))


def _put(network: MmsCtc, folder: Path, code: str) -> None:
    """Puts the adapter of `code` in place where the folder has it, and notes the others."""
    default = _default(folder)
    for path in sorted(folder.glob(_adapter_file("*"))):
        network.kept[path.name.removeprefix("adapter.").removesuffix(".safetensors")] = path.absolute()
    if default in vocabulary_table(folder) and default not in network.kept:
        network.kept[default] = {name: value.clone() for name, value in network.adapter_state().items()}
    mine = network.kept.pop(code, None)
    network.language = code
    if isinstance(mine, Path):
        try:
            state = load_file(mine)
        except (OSError, SafetensorError) as error:
            raise ModelError(f"the adapter cannot be read: {error}", where=str(mine), next_step=WHOLE) from error
        network.put_adapter(state, mine)


def _vocabulary(network: MmsCtc, folder: Path, code: str | None) -> HfVocabulary:
    rows = network.output_layer.out_features
    return HfVocabulary.read(folder, outputs=rows, pad=network.config.pad_token_id, language=code)


def _default(folder: Path) -> str:
    """The language of the adapters in `model.safetensors`: the one the tokenizer names, the only one, or English."""
    named = read_json(folder / "tokenizer_config.json", optional=True).get("target_lang")
    names = list(vocabulary_table(folder))
    return str(named) if named else names[0] if len(names) == 1 else _ENGLISH


def _languages(folder: Path) -> list[str]:
    """Languages with a vocabulary and an adapter."""
    default = _default(folder)
    return [c for c in vocabulary_table(folder) if c == default or (folder / _adapter_file(c)).is_file()]


def _known(folder: Path, tag: str) -> str | None:
    """The code of a language in the checkpoint; ModelError where it has a vocabulary and its adapter is not there."""
    code = adapter_for(tag, _languages(folder))
    listed = adapter_for(tag, list(vocabulary_table(folder)))
    if code is None and listed is not None:
        raise ModelError(
            f"the vocabulary has {listed}, but its adapter is not in the folder",
            where=str(folder / _adapter_file(listed)),
            next_step="copy that file from the checkpoint too"
            + (" (only a pickled .bin is here)" if (folder / f"adapter.{listed}.bin").is_file() else ""),
        )
    return code


def _unknown(folder: Path, tag: str) -> ModelError:
    languages = _languages(folder)
    alike = near(tag, languages)
    return ModelError(
        f"this checkpoint has no adapter for {tag!r}",
        where=str(folder),
        next_step=("near it: " + ", ".join(alike) if alike else f"it has {len(languages)}: {_some(languages)}")
        + "; or train one from this checkpoint (train_only: adapters)",
    )


def _some(names: Sequence[str]) -> str:
    return ", ".join(sorted(names)[:8]) + (" ..." if len(names) > 8 else "")


def _adapter_file(code: str) -> str:
    return f"adapter.{code}.safetensors"
