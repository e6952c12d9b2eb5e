"""`orature export`: a model for onnxruntime, CTranslate2 or transformers, proven equal.

Example::

    orature export my_model/model --as onnx,onnx-int8 --to exported/ --corpus corpus/
    orature transcribe exported/onnx talk.wav
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orature.cli.common import JsonOption, StoreOption, command_line, emit, example, run_command

if TYPE_CHECKING:
    from orature.engines.backends import Format


def register(app: typer.Typer) -> None:
    """Adds `export` to the command line."""
    lines = (
        "orature export my_model/model --as onnx --to my_onnx --corpus corpus",
        "orature export whisper-small --as ctranslate2,ctranslate2-int8 --lang sw --to fast",
    )
    app.command(epilog=example(*lines))(export)


@run_command
def export(
    model: Annotated[str, typer.Argument(help="A model folder (or allowed hub id).")],
    to: Annotated[Path, typer.Option("--to", help="New folder; with several formats, one folder in it for each.")],
    formats: Annotated[
        str, typer.Option("--as", help="onnx, onnx-int8, ctranslate2, ctranslate2-int8, safetensors; or several.")
    ] = "onnx",
    corpus: Annotated[
        Path | None,
        typer.Option(help="Corpus whose speech proves the export equal.", show_default="sounds drawn from a seed"),
    ] = None,
    split: Annotated[str, typer.Option(help="Which split of it.")] = "dev",
    lang: Annotated[
        str | None, typer.Option("--lang", help="Language, where the model asks for one.", show_default=False)
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads (default: one a core).")] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a model for another program, and prove on speech that it says the same before it is handed over.

    The folder is used as any model folder. An export in float32 that writes other texts is refused (exit code 1); for
    8 bits the difference is measured and printed.
    """
    from orature.engines.export import read_model, refuse
    from orature.engines.hub import model_folder
    from orature.flow import Resources, Run, open_store
    from orature.flow.store import refuse_foreign
    from orature.stages.export import Export
    from orature.stages.inputs import corpus_ref, model_ref

    wanted = _formats(formats)
    folder = model_folder(model)
    places = {one: to if len(wanted) == 1 else to / one for one in wanted}
    for place in places.values():
        refuse_foreign(place)
    _, network, _ = read_model(folder, lang)
    for one in wanted:
        refuse(folder, network, one)
    del network
    home = open_store(store)
    run = Run(home, recipe="export", command=command_line())
    inputs: dict[str, Any] = {"model": model_ref(folder), "split": split, "language": lang or ""}
    inputs["corpus"] = None if corpus is None else corpus_ref(corpus)
    done: list[dict[str, Any]] = []
    for one in wanted:
        on = Resources(device="cpu", threads=threads, progress=not as_json)
        ref = run.do(Export(**inputs, format=one), on=on)
        home.publish(ref, places[one])
        done.append({"folder": str(places[one]), **home.info(ref.key).notes["parity"]})
    emit({"exports": done}, as_json, lambda: "\n".join(_told(one) for one in done))


def _formats(text: str) -> list[Format]:
    from orature.core.errors import ConfigError
    from orature.engines.backends import FORMATS

    found: list[Format] = []
    for name in filter(None, (part.strip() for part in text.split(","))):
        known = next((one for one in FORMATS if one == name), None)
        if known is None:
            raise ConfigError(f"there is no export format {name!r}", next_step="choose from " + ", ".join(FORMATS))
        if known not in found:
            found.append(known)
    if not found:
        raise ConfigError("in which format?", next_step="choose from " + ", ".join(FORMATS))
    return found


def _told(parity: dict[str, Any]) -> str:
    """What one export came to, for a person."""
    lines = [
        f"{parity['format']}: {parity['folder']}",
        f"  decoded by both: {parity['golden_set']}, {parity['seconds']:g} s",
        f"  equal texts: {parity['texts_equal']} of {parity['texts']}, character error rate between both "
        f"{100 * parity['cer_between']:.2f} %",
    ]
    if "log_probability_error" in parity:
        lines.append(
            f"  largest difference of a log-probability: {parity['log_probability_error']:g}, "
            f"steps with another best token: {100 * parity['steps_changed']:.2g} %"
        )
    if "tokens_changed" in parity:
        lines.append(f"  recordings with other tokens: {100 * parity['tokens_changed']:.2g} %")
    if parity["limits"] is None:
        lines.append("  (8 bits are an approximation: evaluate it on dev before you rely on it)")
    return "\n".join(lines)
