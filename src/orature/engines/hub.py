"""Where a model lies: in the package (`base`), a folder, or a hub id that the user allowed to be downloaded.

Weights are never pickled ones.

Example::

    folder = model_folder("facebook/mms-1b-all", allow_network=True)
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from orature.core.errors import ModelError
from orature.engines.language_codes import codes_of
from orature.engines.shipped import is_shipped, shipped

ALLOW = "ORATURE_ALLOW_NETWORK"
_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_ADAPTERS = ["adapter.*"]
_WANTED = ["*.json", "*.safetensors", "*.txt", "*.model", "*.spm", "*.md"]


def model_folder(
    source: str | Path,
    *,
    allow_network: bool | None = None,
    revision: str | None = None,
    language: str | None = None,
) -> Path:
    """The local folder of `source`: "base" (the model of the package), a path, or a hub id `owner/name`.

    An id is downloaded only where `allow_network` (default: the environment variable ORATURE_ALLOW_NETWORK is 1), and
    only configuration, tokenizer and safetensors files; of the adapters of MMS (over a thousand) only that of
    `language`. ModelError where there is no such folder or no permission.
    """
    if is_shipped(str(source)):
        return shipped(str(source))
    path = Path(source)
    if path.is_dir():
        return path
    name = str(source)
    if path.exists() or not _ID.fullmatch(name):
        raise ModelError(
            "there is no such model folder", where=name, next_step="name a folder that holds config.json and weights"
        )
    if allow_network is None:
        allow_network = os.environ.get(ALLOW) == "1"
    if not allow_network:
        raise ModelError(
            "there is no such folder, and nothing is downloaded without permission",
            where=name,
            next_step=f"if this is a hub id, set {ALLOW}=1 to let Orature download it; else name a local folder",
        )
    return _download(name, revision, language)


def _download(name: str, revision: str | None, language: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    try:
        folder = Path(snapshot_download(name, revision=revision, allow_patterns=_WANTED, ignore_patterns=_ADAPTERS))
        if language is not None:
            adapters = [f"adapter.{code}.safetensors" for code in sorted({language, *codes_of(language)})]
            snapshot_download(name, revision=revision, allow_patterns=adapters)
        return folder
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise ModelError(
            f"the model cannot be downloaded: {str(error).splitlines()[0]}",
            where=name,
            next_step="check the id and the connection, or download the folder by other means and name it",
        ) from error
