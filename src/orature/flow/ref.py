"""What names an artefact (`Ref`), and how a stage is computed (`Resources`), which never enters its identity.

Example::

    Ref(key="external", stage="source", digest="9f2c", path="/data/cv-corpus.tar.gz")
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

EXTERNAL = "external"


class Ref(BaseModel, frozen=True, extra="forbid"):
    """One input or result: `key` (64 hex, or "external"), stage name, content digest; `path` only for what is outside.

    Only `digest` enters the identity of a stage that reads it: the same content elsewhere is the same input.
    """

    key: str = Field(pattern=r"^([0-9a-f]{64}|external)$")
    stage: str
    digest: str = Field(min_length=1)
    path: str = Field(default="", repr=False)

    @property
    def is_external(self) -> bool:
        """True for a folder or file that no stage of this store made."""
        return self.key == EXTERNAL


class Resources(BaseModel, frozen=True, extra="forbid"):
    """How the work is done, not what is done: results must not depend on any of this."""

    workers: int = Field(default=1, ge=1)
    device: str = "auto"
    threads: int | None = Field(default=None, ge=1)
    batch_seconds: float | None = Field(default=None, gt=0)
    processes: int = Field(default=1, ge=1)
    """For training: one a GPU; each computes its share of every update."""
    sharding: Literal["none", "fsdp"] = "none"
    """With several processes: whether each holds a share of the weights instead of all of them."""
    progress: bool = True
    executor: Literal["local", "ray"] = "local"
    """What runs the shards of a stage: processes of this machine, or a Ray cluster (`address`, else one of our own)."""
    address: str | None = None
