"""docs/pseudo_label.md names every setting of the recipe, of slimIPL and of the filters, and none that is not there."""

from __future__ import annotations

import re
from pathlib import Path

from orature.data.label_judge import LabelBounds
from orature.recipes.pseudo_settings import PseudoSettings
from orature.stages.filter_labels import FilterLabels
from orature.stages.label_quotas import Quotas
from orature.train.pseudo_config import PseudoConfig, WatchConfig

_PAGE = Path(__file__).parents[2] / "docs" / "pseudo_label.md"
_NOT_SET = {"corpus", "hypotheses", "second", "split", "bounds", "quotas"}
"""Of the stage of the filters: given by the command."""


def test_every_setting_is_on_the_page() -> None:
    said = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]+)`", _PAGE.read_text(encoding="utf-8")))))
    filters = {*FilterLabels.model_fields, *LabelBounds.model_fields, *Quotas.model_fields} - _NOT_SET
    for names in (PseudoSettings.model_fields, PseudoConfig.model_fields, WatchConfig.model_fields, filters):
        assert not set(names) - said, "not on the page"


def test_no_filter_on_the_page_is_unknown() -> None:
    filters = _PAGE.read_text(encoding="utf-8").partition("## Filters")[2]
    known = {*FilterLabels.model_fields, *LabelBounds.model_fields, *Quotas.model_fields}
    named = {name for name in re.findall(r"`([a-z_]+)`", filters)}
    assert named and named <= known
