"""The scheduling study's own logic: its plan, its verdicts, resuming, and the report. The runs are made up."""

from __future__ import annotations

import json
from collections.abc import Callable
from math import exp
from pathlib import Path

import numpy as np
import pytest

from quarterdeck.bench import scheduling
from quarterdeck.bench.scheduling import Options, kept, plan
from quarterdeck.bench.scheduling_aims import DECK, FIRST, GAMES, NA, PLAIN, SC, STRICT, Aim, aims
from quarterdeck.bench.scheduling_case import ABLATIONS, POLICIES, policy_of
from quarterdeck.bench.scheduling_report import Study, markdown, tables
from quarterdeck.bench.scheduling_results import Case, Outcome, Results, Setting, inverse
from quarterdeck.errors import Invalid
from quarterdeck.simulator.metrics import Gain
from quarterdeck.simulator.record import CAUSES, CLASSES


def outcomes(setting: Setting, of: Callable[[int], dict[str, float]], seeds: int = 20) -> list[Outcome]:
    return [
        Outcome(case=Case(setting=setting, seed=seed, jobs=100), figures=of(seed), wall_s=1.0)
        for seed in range(1, seeds + 1)
    ]


def slowdowns(p95: float, noise: float = 0.0, shared: float = 1.0) -> Callable[[int], dict[str, float]]:
    """Figures with this p95 in each class; `shared` is how far seeds differ, alike for all policies."""

    def of(seed: int) -> dict[str, float]:
        luck = exp(shared * np.random.default_rng(seed).normal())
        mine = exp(noise * np.random.default_rng((seed, int(1000 * p95))).normal())
        return {f"{what} {name}": p95 * luck * mine for name in CLASSES for what in ("p50", "p95", "p99", "delay")}

    return of


def setting(policy: str, part: str = "orders", shape: str = SC, load: float = 0.85, variant: str = "") -> Setting:
    return Setting(part, shape, load, variant, policy)


def test_gains_are_paired_over_seeds() -> None:
    results = Results([*outcomes(setting(PLAIN), slowdowns(10.0)), *outcomes(setting(DECK), slowdowns(4.0, 0.02))])
    gain = results.gains(setting(DECK), setting(PLAIN))["all"]
    assert gain.mean == pytest.approx(2.5, rel=0.03) and gain.high / gain.low < 1.05
    alone = results.mean(setting(DECK), "p95 test")
    assert alone is not None and alone.high / alone.low > 1.5, "without pairing, seeds differ a lot"
    assert results.gain(setting("sjf"), setting(PLAIN), ["p95 test"]) is None
    back = inverse(gain)
    assert back.low <= back.mean <= back.high and back.mean == pytest.approx(1 / gain.mean)


def test_harm_is_the_part_of_what_strict_priority_adds() -> None:
    results = Results(
        [*outcomes(setting(PLAIN), slowdowns(10.0, shared=0)), *outcomes(setting(STRICT), slowdowns(110.0, shared=0)),
         *outcomes(setting(FIRST), slowdowns(14.0, shared=0))]
    )  # fmt: skip
    harm = results.harm(setting(FIRST), setting(STRICT), setting(PLAIN), "p95 development")
    assert harm is not None and harm.mean == pytest.approx(0.04)


@pytest.mark.parametrize(
    ("sense", "wanted", "got", "verdict"),
    [
        ("at least", 2.3, (2.6, 2.4, 2.9), "met"),
        ("at least", 2.3, (2.4, 2.2, 2.6), "met, within error"),
        ("at least", 2.3, (2.2, 2.0, 2.4), "missed, within error"),
        ("at least", 2.3, (1.5, 1.4, 1.6), "missed"),
        ("at most", 1.1, (1.0, 0.9, 1.05), "met"),
        ("at most", 1.1, (1.05, 0.9, 1.2), "met, within error"),
        ("at most", 1.1, (1.2, 1.05, 1.3), "missed, within error"),
        ("at most", 1.1, (1.5, 1.4, 1.6), "missed"),
    ],
)
def test_verdicts(sense: str, wanted: float, got: tuple[float, float, float], verdict: str) -> None:
    aim = Aim(name="x", sense=sense, wanted=wanted, got=Gain(*got, 20))  # type: ignore[arg-type]
    assert aim.verdict == verdict and aim.met == verdict.startswith("met")


def everything(deck: float = 4.0) -> Results:
    """Made-up results of the whole plan: a p95 of 10 for plain FIFO, `deck` for deck, and so on."""
    told = {PLAIN: 10.0, STRICT: 30.0, FIRST: 3.0}
    found: list[Outcome] = []
    for case in plan(Options(seeds=4)):
        policy = case.setting.policy
        figures = slowdowns(told.get(policy, deck), 0.01)(case.seed)
        figures |= dict.fromkeys(CAUSES, 1 / len(CAUSES)) | {"jain": 0.9, "cheater": 3.0}
        figures["capacity"] = 0.1 if "exclusive" in case.setting.variant else 0.9
        found.append(Outcome(case=case, figures=figures, wall_s=0.1))
    return Results(found)


def test_every_aim_has_a_verdict_and_losers_stay() -> None:
    good = {aim.name: aim for aim in aims(everything(1.0))}
    bad = {aim.name: aim for aim in aims(everything(30.0))}
    assert good.keys() == bad.keys()
    key = f"{SC} 0.85: p95 gain over plain fifo, all classes"
    assert good[key].met and not bad[key].met
    for word in ("p95 gain", "strict priority's harm", "production p95 over", "saturated", "estimate error doubled",
                 "1.1: p99", "sizes alike", "sizes nearly alike", "c/q 10", *GAMES):  # fmt: skip
        assert any(word in name for name in good), f"no aim about {word}"
    assert len(aims(Results([]))) == 0, "no verdict without figures"


def test_the_plan_is_what_the_issue_asks_for() -> None:
    cases = plan(Options())
    assert len(cases) == len(set(cases))
    orders = {(c.setting.shape, c.setting.load, c.setting.policy, c.seed) for c in cases if c.setting.part == "orders"}
    for shape in (SC, NA):
        for load in (0.5, 0.7, 0.85, 0.95, 1.1):
            for policy in POLICIES:
                assert {(shape, load, policy, seed) for seed in range(1, 21)} <= orders
    assert {case.seed for case in cases[: len(cases) // 20]} == {1}, "a seed is complete before the next one starts"
    assert len(plan(Options(quick=True))) < len(cases) / 20
    assert {case.setting.part for case in plan(Options(parts=("gaming",)))} == {"gaming"}


def test_names_of_policies() -> None:
    assert policy_of("plain fifo") == ("fifo", {"slices": False, "backfill": False})
    assert policy_of("deck, sticky 1.0") == ("deck", {"sticky": 1.0})
    for change in ABLATIONS:
        assert policy_of(f"{DECK}, {change}")[1]
    with pytest.raises(KeyError):
        policy_of("lottery")


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> list[Case]:
    """Cases that cost nothing; those that were run."""
    ran: list[Case] = []

    def outcome(case: Case) -> Outcome:
        ran.append(case)
        return Outcome(case=case, figures=slowdowns(10.0)(case.seed) | {"capacity": 0.9}, wall_s=0.0)

    monkeypatch.setattr(scheduling, "outcome", outcome)
    return ran


def test_it_goes_on_where_it_was_ended(cheap: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    options = Options(quick=True, keep=tmp_path / "kept.jsonl", processes=1)
    told: list[tuple[int, int]] = []
    scheduling.run(options, lambda done, of: told.append((done, of)))
    total = len(plan(options))
    assert len(cheap) == total and told == [(done, total) for done in range(total + 1)]
    file = tmp_path / "kept.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(b"".join(lines[:-3]) + lines[-3][:40])  # killed in mid-line
    cheap.clear()
    study = scheduling.run(options)
    assert len(cheap) == 3 and study.rows
    cheap.clear()
    scheduling.run(options)
    assert not cheap
    monkeypatch.setattr(scheduling, "code", lambda: "another version of the code")
    scheduling.run(options)
    assert len(cheap) == total, "outcomes of other code do not count"


def test_a_file_that_is_none_of_ours_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("hello\n")
    with pytest.raises(Invalid, match=r"notes.txt:1.*name another file"):
        kept(file, set())
    assert file.read_text() == "hello\n"
    with pytest.raises(Invalid, match="astrology"):
        scheduling.run(Options(parts=("astrology",)))


def test_the_report_tells_everything(cheap: list[Case]) -> None:
    results = everything()
    study = Study.of(
        results, started="2026-11-21", took_s=1.0, cpu_s=2.0, version="0", code="c", machine=scheduling.Machine.here(),
        seeds=4, quick=False,
    )  # fmt: skip
    text = markdown(study)
    named = {setting.policy for setting in results.settings("orders")}
    assert named == set(POLICIES)
    for name in named:
        assert text.count(f"| {name} |") >= 20, f"{name} is in the table of each load and modality"
    assert "missed" in text and "met" in text
    data = json.loads(study.to_json())
    assert {aim["met"] for aim in data["aims"]} == {True, False}
    assert len(data["rows"]) == len(results.settings())
    row = next(row for row in data["rows"] if row["policy"] == DECK)
    assert row["figures"]["p95 test"].keys() == {"mean", "low", "high", "seeds"} and row["gains"].keys() > {"all"}
    assert all(len(cells) == len(rows[0]) for _, rows in tables(study) for cells in rows)


def test_no_cell_breaks_a_markdown_table() -> None:
    study = Study.of(
        everything(), started="", took_s=1.0, cpu_s=2.0, version="0", code="c", machine=scheduling.Machine.here(),
        seeds=4, quick=False,
    )  # fmt: skip
    assert not [cell for _, rows in tables(study) for cells in rows for cell in cells if "|" in cell]


def test_loads_choose_settings() -> None:
    chosen = scheduling.plan(scheduling.Options(seeds=2, parts=("orders",), loads=(0.85,)))
    assert chosen and {case.setting.load for case in chosen} == {0.85}
    with pytest.raises(Invalid, match=r"there are 0\.5"):
        scheduling.run(scheduling.Options(seeds=2, parts=("orders",), loads=(0.123,)))
