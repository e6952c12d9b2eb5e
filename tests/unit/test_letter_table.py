"""A person's table of a spelling: read with line numbers, counted over texts; the setting that names it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from orature.core.errors import ConfigError
from orature.recipes.settings import override
from orature.recipes.training import with_table
from orature.text.letter_table import counted, read_table
from orature.train.config import PriorConfig, TrainConfig

INVENTORY = {"k", "s", "ʃ", "t", "a", "h"}


def _file(folder: Path, *lines: str) -> Path:
    path = folder / "table.tsv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _known(phones: str) -> list[str] | None:
    return phones.split() if set(phones.split()) <= INVENTORY else None


def test_rows_are_brought_into_the_inventory(tmp_path: Path) -> None:
    path = _file(tmp_path, "# Kichwa", "", "ch\tt͡ʃ", "c\tk\t3", "c\ts", "h\t-", "e\u0301\te")
    assert read_table(path) == (("ch", "t ʃ", 1.0), ("c", "k", 3.0), ("c", "s", 1.0), ("h", "", 1.0), ("é", "e", 1.0))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("ab", "1 columns"),
        ("a\t", "no phones"),
        ("a\tb\t1\t2", "4 columns"),
        ("\ta", "letters without a space"),
        ("a b\ta", "letters without a space"),
        ("a\t☺", "no IPA.*U\\+263A"),
        ("a\ta\tmuch", "much"),
        ("a\ta\t0", "above 0"),
        ("a\ta\tnan", "above 0"),
        ("k\tk", "line 1 says the same"),
    ],
)
def test_a_line_with_a_fault_is_named(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        read_table(_file(tmp_path, "k\tk", line))
    assert caught.value.where.endswith("table.tsv:2") and caught.value.next_step


def test_no_file_and_an_empty_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_table(tmp_path / "none.tsv")
    with pytest.raises(ConfigError, match="holds no rows"):
        read_table(_file(tmp_path, "# nothing"))


def test_the_longest_letters_are_taken_and_each_row_is_used_or_rejected() -> None:
    rows = [("sh", "ʃ", 1.0), ("s", "s", 1.0), ("c", "k", 3.0), ("c", "s", 1.0), ("x", "k s", 1.0), ("h", "", 1.0)]
    rows += [("z", "a", 1.0), ("q", "ɢ", 1.0), ("!", "a", 1.0)]
    learned, rejects = counted(rows, ["shs cc", "xh?"], lambda text: text.replace("!", ""), _known)
    assert dict(learned.shares("s")) == pytest.approx({"ʃ": 0.5, "s": 0.5})
    assert dict(learned.shares("c")) == pytest.approx({"k": 0.75, "s": 0.25})
    assert dict(learned.shares("x")) == pytest.approx({"k": 0.5, "s": 0.5})
    assert dict(learned.shares("h")) == {"ʃ": 1.0} and learned.silent_share("h") == 0.5
    assert dict(zip(learned.phones, learned.phone_counts, strict=True)) == {"k": 2.5, "s": 2.5, "ʃ": 1.0}
    assert {(reject.id, reject.reason) for reject in rejects} == {
        ("z", "letters-unused"),
        ("q", "phone-unknown"),
        ("!", "letters-empty"),
    }


def test_the_setting_takes_a_word_or_a_table_by_content(tmp_path: Path) -> None:
    assert override(TrainConfig(), {"prior": "heard"}).prior == PriorConfig(source="heard")
    assert override(TrainConfig(), {"prior": {"seconds": 30}}).prior == PriorConfig(seconds=30)
    path = _file(tmp_path, "sh\tʃ", "h\t-")
    config = override(TrainConfig(), with_table({"prior": f"table:{path}"}))
    assert config.prior == PriorConfig(source="table", rows=(("sh", "ʃ", 1.0), ("h", "", 1.0)))
    more = with_table({"prior": {"source": f"table:{path}", "calibrate_seconds": 5}, "updates": 3})
    assert override(TrainConfig(), more).prior.calibrate_seconds == 5 and more["updates"] == 3
    assert str(tmp_path) not in config.model_dump_json()


def test_settings_that_contradict_are_refused() -> None:
    for wrong in ("spoken", "table", {"source": "heard", "rows": [["a", "a", 1.0]]}, {"rows": [["a", "☺", 1.0]]}):
        with pytest.raises((ConfigError, ValidationError), match="prior"):
            override(TrainConfig(), {"prior": wrong})
