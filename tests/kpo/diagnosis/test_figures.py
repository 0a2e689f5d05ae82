"""Figures of a dump: by place, the same however it is written, the same as of the series room."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kpo.diagnosis.columns import find_columns
from kpo.diagnosis.figures import MISMATCH, PRESENT, Found, diagnose
from kpo.diagnosis.ratios import Ratios
from kpo.diagnosis.reading import open_dump
from kpo.diagnosis.report import lines
from kpo.diagnosis.responses import responses
from kpo.diagnosis.survey import survey
from kpo.diagnostics import effective_share
from kpo.registry import OBJECTIVES, make_objective, usual_objectives
from kpo.series.measures import Structure
from kpo.series.ragged import Ragged
from kpo.series.table import measured_at
from tests.kpo.diagnosis.dumps import FORMS, made_rows, padded

ROWS = made_rows(36, seed=3, longest=40)
METHODS = {"grpo": make_objective("grpo"), "kpo": make_objective("kpo", q=1e-2)}


def found_in(place: Path) -> list[Found]:
    dump = open_dump(place)
    columns = find_columns(str(place), dump.columns, {})
    return diagnose(responses(dump, columns, survey(dump, columns), texts=False), METHODS)


def test_each_place_has_its_own(tmp_path: Path) -> None:
    found = found_in(FORMS["lines"](tmp_path / "dump", ROWS))
    uses = [(stage, use) for stage in ("begin", "middle", "end") for use in ("first", "later")]
    assert [(one.stage, one.use) for one in found] == uses
    for one, start in zip(found, (0, 0, 12, 12, 24, 24), strict=True):
        rows = [r for r in ROWS[start : start + 12] if r["use"] == one.use]
        z = [np.array(row["logprobs"]) - np.array(row["old_logprobs"]) for row in rows]
        pairs = zip(rows, z, strict=True)
        moved = [v for row, v in pairs if one.use == "first" or row["advantage"] != 0]
        measures = Structure()
        measures.add(Ragged.of(moved))
        np.testing.assert_equal(one.structure["measured"], measures.summary())
        np.testing.assert_equal(list(one.structure)[1:], ["shuffled", "random signs", "paper"])
        assert one.ratios[PRESENT]["ess"] == pytest.approx(effective_share(np.concatenate(z)))
        assert one.effects.keys() == METHODS.keys()


@pytest.mark.parametrize("form", FORMS)
def test_the_form_does_not_matter_to_the_last_digit(tmp_path: Path, form: str) -> None:
    expected = found_in(FORMS["lines"](tmp_path / "ragged", ROWS))
    assert str(found_in(FORMS[form](tmp_path / "dump", padded(ROWS)))) == str(expected)


def test_neither_do_the_batches_in_which_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = FORMS["parquet"](tmp_path / "dump", ROWS)
    monkeypatch.setattr("kpo.series.ragged.PORTION", 90)
    expected = found_in(place)
    monkeypatch.setattr("kpo.diagnosis.reading.BATCH_ROWS", 2)
    assert str(found_in(place)) == str(expected)


def test_how_much_comes_at_once_does_not_matter_to_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    z = [np.array(row["logprobs"]) - np.array(row["old_logprobs"]) for row in ROWS]
    monkeypatch.setattr("kpo.series.ragged.PORTION", 90)
    whole, parts = measured_at("end", "later"), measured_at("end", "later")
    whole.add(Ragged.of(z))
    for i in range(0, len(z), 5):
        parts.add(Ragged.of(z[i : i + 5]))
    assert str(list(parts.rows())) == str(list(whole.rows()))
    assert str(list(measured_at("end", "first").rows())) != str(list(whole.rows()))


def test_ratios_by_hand() -> None:
    rng = np.random.default_rng(0)
    d = [rng.normal(0.1, 0.5, T) for T in (3, 1, 8)]
    d[0][1] = 0.0
    ratios = Ratios()
    for one in d:
        ratios.add(Ragged.of([one]))
    tokens, sums = np.concatenate(d), np.array([one.sum() for one in d])
    assert ratios.summary() == pytest.approx(
        {
            "ess": effective_share(tokens),
            "ess_responses": effective_share(sums),
            "kl": np.mean(np.exp(tokens) - 1 - tokens),
            "mean_abs": np.abs(tokens).mean(),
            "max_abs": np.abs(tokens).max(),
            "min_abs": np.abs(tokens)[tokens != 0].min(),
        }
    )


def test_ratios_out_of_range_stay_in_range() -> None:
    ratios = Ratios()
    for z in (-800.0, 900.0, 900.0, -3.0):
        ratios.add(Ragged.of([np.array([z])]))
    assert ratios.summary()["ess"] == pytest.approx(0.5)
    assert ratios.summary()["kl"] == np.inf


def test_the_engine_s_log_probs_are_set_beside_the_old(tmp_path: Path) -> None:
    (found,) = found_in(FORMS["lines"](tmp_path / "dump", [ROWS[0]]))
    gap = np.array(ROWS[0]["old_logprobs"]) - np.array(ROWS[0]["rollout_logprobs"])
    assert found.ratios[MISMATCH]["mean_abs"] == pytest.approx(np.abs(gap).mean())
    alone = [{k: v for k, v in ROWS[0].items() if k != "rollout_logprobs"}]
    (found,) = found_in(FORMS["lines"](tmp_path / "alone", alone))
    assert found.ratios.keys() == {PRESENT}


def test_every_objective_is_usual() -> None:
    assert usual_objectives().keys() == OBJECTIVES.keys()


def test_of_later_passes_without_an_advantage_nothing_is_measured(tmp_path: Path) -> None:
    still = [row | {"advantage": 0.0} for row in ROWS[2:4]]
    (found,) = found_in(FORMS["lines"](tmp_path / "dump", still))
    assert found.structure["measured"]["tokens"] == 0
    assert found.ratios[PRESENT]["mean_abs"] > 0
    assert np.isnan(found.effects["grpo"]["gradient_dropped"])
    assert any("No response has an advantage" in line for line in lines(found))


@pytest.mark.parametrize(("scale", "rounding"), [(1e-7, True), (1e-5, False)])
def test_what_float32_makes_of_equal_log_probs_is_no_structure(
    scale: float, rounding: bool, tmp_path: Path
) -> None:
    moved = scale * np.random.default_rng(0).normal(size=20)
    old = np.full(20, -1.0)
    row = {"logprobs": (old + moved).tolist(), "old_logprobs": old.tolist(), "advantage": 1.0}
    (found,) = found_in(FORMS["lines"](tmp_path / "dump", [row]))
    said = "\n".join(lines(found))
    assert ("this size are rounding" in said) == rounding
    assert ("Signs without memory" in said) != rounding
