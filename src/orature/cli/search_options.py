"""How an encoder-decoder is asked to look for texts, on the command line.

Example::

    orature transcribe model talk.wav --beams 5 --length-penalty 1.0 --ctc-weight 0.3
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from orature.engines.search_config import SearchConfig

BeamsOption = Annotated[
    int | None,
    typer.Option("--beams", min=1, max=100, help="Of an encoder-decoder's search.", show_default="1, greedy"),
]
LengthPenaltyOption = Annotated[
    float | None,
    typer.Option("--length-penalty", min=0, max=4, help="The power of the length in its scores.", show_default="1"),
]
CtcWeightOption = Annotated[
    float | None,
    typer.Option(
        "--ctc-weight", min=0, max=0.99, help="Share of its CTC head in the scores.", show_default="as trained"
    ),
]


def search_of(beams: int | None, length_penalty: float | None, ctc_weight: float | None) -> SearchConfig | None:
    """The search that was asked for; None for none."""
    from orature.engines.search_config import SearchConfig

    given = {"beams": beams, "length_penalty": length_penalty, "ctc_weight": ctc_weight}
    asked = {name: value for name, value in given.items() if value is not None}
    return SearchConfig(**asked) if asked else None
