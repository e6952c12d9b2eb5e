"""Fixtures that every test may use."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[1]
_HOW = (
    "the real-speech corpora are not here: set ORATURE_CORPORA to a folder that holds digits_fsdd, speech_commands, "
    "kichwa_killkan ... (CONTRIBUTING.md, section 'Real speech for the tests', says where each comes from)"
)

# A shell that starts the tests in the background has them ignore Ctrl-C, and every program that they start would too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def corpora() -> Path:
    """Folder of the real-speech corpora; skips for a user without them, fails in CI."""
    folder = Path(os.environ.get("ORATURE_CORPORA", _ROOT.parent / "shared" / "corpora"))
    if not (folder / "digits_fsdd" / "manifest.tsv").is_file():
        if os.environ.get("CI", "").lower() in ("1", "true"):
            pytest.fail(_HOW)
        pytest.skip(_HOW)
    return folder
