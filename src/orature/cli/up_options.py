"""What `orature up` can be given beside a corpus: text, a voice, another language.

Example::

    orature up kichwa/ --rich spanish/ --parallel es-qu.tsv
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

TextOption = Annotated[
    list[Path] | None,
    typer.Option(
        help="Sentences (.txt, .tsv, .jsonl) for a language model and for synthetic speech; may be repeated.",
        show_default=False,
    ),
]
WithOption = Annotated[
    str | None,
    typer.Option(
        "--with",
        metavar="LIST",
        help="What else to do: lm (of --text and the transcripts), back_translation, speech_translation, with commas.",
        show_default="what the material allows",
    ),
]
VoiceOption = Annotated[
    str | None, typer.Option(help="Voice that reads the text for back-translation.", show_default="espeak")
]
RichOption = Annotated[
    str | None,
    typer.Option(
        help="Transcribed corpus of a richer language (TAG=PATH states it), for speech translation.",
        show_default=False,
    ),
]
ParallelOption = Annotated[
    list[Path] | None,
    typer.Option(
        help="Sentence pairs of both languages, to train a translator on; may be repeated.", show_default=False
    ),
]
