"""The aligned difference of one utterance: what was said above what was heard, word under word.

Colour is never alone: a missed word is struck through, an added one underlined and led by a plus, a wrong one has a
tinted ground and its wrong letters are underlined.

Example::

    interlinear(align_words("kayman shamuychik", "kayman shamuychi"))
"""

from __future__ import annotations

from rapidfuzz.distance import Levenshtein

from orature.evaluate.alignment import Alignment, Edit
from orature.evaluate.html.text import clusters, direction, escape

_OPS = {"equal": "=", "substitute": "s", "delete": "d", "insert": "i"}

LEGEND = (
    '<p class="legend" aria-hidden="true">'
    '<span><span class="pair sub"><span class="said">wr<u>o</u>ng</span></span> heard as another word</span>'
    '<span><span class="pair del"><del class="said">missed</del></span> said, not heard</span>'
    '<span><span class="pair ins"><ins class="heard">added</ins></span> heard, not said</span></p>'
)


def interlinear(alignment: Alignment) -> str:
    """HTML of all word pairs in reading order, set from right to left where the script asks for it."""
    said = " ".join(edit.said for edit in alignment.edits)
    heard = " ".join(edit.heard for edit in alignment.edits)
    pairs = " ".join(_pair(edit) for edit in alignment.edits)
    return f'<div class="lines" dir="{direction(said + heard)}">{pairs}</div>'


def operations(alignment: Alignment) -> str:
    """One letter an edit (= equal, s wrong, d missed, i added), for the table's script."""
    return "".join(_OPS[edit.kind] for edit in alignment.edits)


def _pair(edit: Edit) -> str:
    if edit.kind == "equal":
        word = escape(edit.said)
        return f'<span class="pair"><span class="said">{word}</span><span class="heard">{word}</span></span>'
    if edit.kind == "delete":
        return (
            f'<span class="pair del"><span class="vh">missed: </span><del class="said">{escape(edit.said)}</del>'
            '<span class="heard gap">·</span></span>'
        )
    if edit.kind == "insert":
        return (
            '<span class="pair ins"><span class="vh">added: </span><span class="said gap">·</span>'
            f'<ins class="heard">{escape(edit.heard)}</ins></span>'
        )
    said, heard = _marked(edit.said, edit.heard)
    return (
        f'<span class="pair sub"><span class="said">{said}</span><span class="vh"> heard as </span>'
        f'<span class="heard">{heard}</span></span>'
    )


def _marked(said: str, heard: str) -> tuple[str, str]:
    """Both words with the letters underlined in which they differ; not when hardly a letter is shared."""
    left, right = clusters(said), clusters(heard)
    wrong_left: set[int] = set()
    wrong_right: set[int] = set()
    for step in Levenshtein.opcodes(left, right):
        if step.tag != "equal":
            wrong_left.update(range(step.src_start, step.src_end))
            wrong_right.update(range(step.dest_start, step.dest_end))
    if len(wrong_left) + len(wrong_right) > 0.75 * (len(left) + len(right)):
        return escape(said), escape(heard)
    return _underlined(left, wrong_left), _underlined(right, wrong_right)


def _underlined(letters: list[str], wrong: set[int]) -> str:
    parts: list[str] = []
    for index, letter in enumerate(letters):
        shown = escape(letter)
        parts.append(f"<u>{shown}</u>" if index in wrong else shown)
    return "".join(parts).replace("</u><u>", "")
