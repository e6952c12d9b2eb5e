"""Where the first output layer of a recogniser that starts from a model of phones comes from.

Example::

    PriorConfig.model_validate("heard")         # as --set prior=heard gives it
    PriorConfig(rows=(("sh", "ʃ", 1.0),))
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import BaseModel, Field, field_validator, model_validator

from orature.text.letter_table import checked_row

Source = Literal["auto", "none", "espeak", "heard", "table"]


class PriorConfig(BaseModel, frozen=True, extra="forbid"):
    """How letters get their first weights from those of phones; a word alone stands for `source`.

    auto: the table if there is one, else espeak-ng where it has a voice of every language of the corpus, else what the
    model of phones hears; none where the start writes no phones. espeak: its reading of the transcripts of train.
    heard: the phones that the model itself hears in the audio of train. table: spellings that a person knows.
    """

    source: Source = "auto"
    rows: tuple[tuple[str, str, float], ...] = ()
    """The table: letters, their phones (IPA; "" for silent ones), and the weight among rows of the same letters."""
    engine: str = ""
    """The revision of espeak-ng that is to read (part of what the run is); "": the one at hand."""
    pairs: int = Field(default=1000, ge=1)
    """At most so many transcripts are aligned; fewer where they are long."""
    seconds: float = Field(default=600.0, gt=0)
    """Of heard: at most so much audio of train is listened to."""
    calibrate_seconds: float = Field(default=60.0, ge=0)
    """So much audio of train decides by how much the phones' weights are scaled; 0: not at all."""

    @model_validator(mode="before")
    @classmethod
    def _a_word(cls, given: Any) -> Any:
        return {"source": given} if isinstance(given, str) else given

    @field_validator("rows")
    @classmethod
    def _known_phones(cls, rows: tuple[tuple[str, str, float], ...]) -> tuple[tuple[str, str, float], ...]:
        return tuple(checked_row(*row) for row in rows)

    @model_validator(mode="after")
    def _rows_for_a_table(self) -> Self:
        if self.rows and self.source not in ("auto", "table"):
            raise ValueError(f"a table was given, but the source is {self.source}")
        if self.source == "table" and not self.rows:
            raise ValueError("a table needs rows: write prior=table:FILE")
        return self
