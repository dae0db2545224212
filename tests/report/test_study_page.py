"""Pages of studies, opened in a browser without a network, read and clicked."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from servetwin import make_spec
from servetwin.deploy import write
from servetwin.errors import InputError
from servetwin.explain import explain
from servetwin.explain.kept import keep
from servetwin.plan.finished import Finished
from servetwin.plan.study import Point
from servetwin.report.page.numbers import short
from servetwin.report.study.page import FILE, study_page, write_page

from .browser import Opened, expect, follows_the_reader, opened
from .studies import STUDIES, study

StudyPage = Callable[[str], Path]


def of(page: Path) -> Finished:
    """The study that a page is of."""
    return study(page.parent.name, page.parent.parent)


def views(shown: Opened, title: str) -> None:
    """Asserts that a trial, or two of them, are what is looked at."""
    expect(shown.page.locator("h2:visible")).to_have_text([title])


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (420, "dark")])
@pytest.mark.parametrize("name", STUDIES)
def test_any_study_is_shown_whole(browser: Any, study_page_of: StudyPage, name: str, width: int, scheme: str) -> None:
    file = study_page_of(name)
    numbers = [trial.number for trial in of(file).trials()]
    places = ["", f"trial-{numbers[0]}", f"trial-{numbers[-1]}"]
    places += [f"compare-{numbers[0]}-{numbers[-1]}"] if len(numbers) > 1 else []
    with opened(browser, file, width=width, scheme=scheme) as shown:
        for place in places:
            shown.go(place)
            assert shown.page.evaluate("document.documentElement.scrollWidth") <= width, place
            text = shown.page.inner_text("body")
            assert not any(word in text for word in ("NaN", "undefined", "[object")), place
        assert shown.page.locator("img").count() == 0


def test_the_choice_stands_at_the_top(browser: Any, study_page_of: StudyPage) -> None:
    for name in ("frontier", "cheapest", "goodput", "users, no level"):
        file = study_page_of(name)
        chosen = of(file).answer.chosen
        assert chosen is not None
        with opened(browser, file) as shown:
            tiles = shown.page.locator("header .tile[data-metric]")
            for place in range(tiles.count()):
                key = tiles.nth(place).get_attribute("data-metric")
                value = float(tiles.nth(place).locator("data").get_attribute("value"))
                assert value == pytest.approx(figure(chosen, key), rel=1e-5), (name, key)
            shown.page.locator("header").get_by_role("link", name="Open trial").click()
            views(shown, f"Trial {chosen.candidate.number}")
    file = study_page_of("nothing meets")
    run = {run.candidate for run in of(file).answer.outcomes}
    with opened(browser, file) as shown:
        assert "Nothing meets the service level" in shown.page.inner_text("header")
        if run != {point.candidate.number for point in of(file).answer.points}:
            shown.table("ranking").get_by_role("button", name="all that ran").click()
        assert shown.table("ranking").locator("tbody tr").count() == len(run)


def figure(point: Point, key: str) -> float:
    own = {"load": point.load, "gpus": point.candidate.gpus, "cost_per_hour": point.candidate.cost_per_hour}
    return float(own[key] if key in own else point.summary[key])


def dots(shown: Opened) -> set[int]:
    """The runs that are drawn, by their place in the page's data."""
    found = shown.figure("points").locator("circle[data-run]")
    return set(found.evaluate_all("dots => dots.map(dot => Number(dot.dataset.run))"))


def test_every_run_is_a_point_and_the_best_are_joined(browser: Any, study_page_of: StudyPage) -> None:
    file = study_page_of("frontier")
    found = of(file)
    points = [point for trial in found.trials() for point in trial.points]
    with opened(browser, file) as shown:
        assert len(dots(shown)) == len(points)
        rows = list(csv.DictReader(io.StringIO(shown.copied(shown.figure("points"), "CSV"))))
        line = shown.figure("points").locator("path.front").get_attribute("d")
    assert len(rows) == len(points)
    for row, point in zip(rows, points, strict=True):
        assert int(row["trial"]) == point.candidate.number
        assert row["misses"] == (point.misses or "")
        for key in ("load", "ttft_ms.p95", "output_tokens_per_s_per_gpu"):
            assert float(row[key]) == pytest.approx(figure(point, key), rel=1e-5)
    good = {(short(point.speed), short(point.throughput)) for point in points if point.misses is None}
    best = [one for one in good if not any(a >= one[0] and b >= one[1] for a, b in good - {one})]
    assert line.count("L") + 1 == len(best)


def test_a_point_opens_its_trial_and_back(browser: Any, study_page_of: StudyPage) -> None:
    file = study_page_of("frontier")
    with opened(browser, file) as shown:
        chart = shown.figure("points").locator("svg")
        chart.scroll_into_view_if_needed()
        dot = shown.figure("points").locator("circle.met").first
        run = int(dot.get_attribute("data-run"))
        number = shown.page.evaluate(f"runs[{run}].trial.number")
        box = dot.bounding_box()
        shown.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        tip = shown.figure("points").locator(".tip")
        expect(tip).to_contain_text(f"Trial {number} at")
        expect(tip).to_contain_text("meets the service level")
        shown.page.mouse.down()
        shown.page.mouse.up()
        views(shown, f"Trial {number}")
        expect(shown.figure("points")).to_be_hidden()
        assert f"Trial {number}" in shown.page.title()
        shown.page.go_back()
        expect(shown.figure("points")).to_be_visible()
        # The same by keyboard alone.
        chart = shown.figure("points").locator("svg")
        chart.focus()
        shown.page.keyboard.press("End")
        named = tip.locator("b").inner_text().split(" at ")[0]
        shown.page.keyboard.press("Enter")
        views(shown, named)
        shown.page.keyboard.press("Escape")
        expect(shown.figure("points")).to_be_visible()


def test_axes_filters_and_zoom(browser: Any, study_page_of: StudyPage) -> None:
    file = study_page_of("frontier")
    found = of(file)
    with opened(browser, file) as shown:
        whole = dots(shown)
        before = shown.figure("points").locator("circle[data-run='0']").get_attribute("cx")
        shown.figure("points").locator("[data-choice='x']").select_option("ttft_ms.p95")
        assert shown.figure("points").locator("circle[data-run='0']").get_attribute("cx") != before
        assert shown.figure("points").locator(".rule").count() == 1  # the limit of 400 ms
        # As many as the trial with the most whole runs has.
        count = max(found.trials(), key=lambda trial: len(trial.points)).candidate.settings["replicas"]
        shown.figure("points").locator("[data-axis='replicas']").get_by_role("button", name=str(count)).click()
        alike = {trial.number for trial in found.trials() if trial.candidate.settings["replicas"] == count}
        kept = dots(shown)
        assert kept
        assert kept < whole
        assert {shown.page.evaluate(f"runs[{run}].trial.number") for run in kept} <= alike
        listed = shown.table("ranking").locator("tbody tr td:nth-child(2)").all_inner_texts()
        assert {int(number) for number in listed} <= alike
        shown.figure("points").get_by_role("button", name="misses shown").click()
        fewer = dots(shown)
        assert fewer < kept
        assert all(shown.page.evaluate(f"runs[{run}].misses") is None for run in fewer)
        shown.figure("points").get_by_role("button", name="clear filters").click()
        shown.figure("points").get_by_role("button", name="misses shown").click()
        assert dots(shown) == whole
        shown.figure("points").get_by_role("button", name="parts shown").click()
        screened = {trial.number for trial in found.trials() if not trial.points}
        assert {shown.page.evaluate(f"runs[{run}].trial.number") for run in dots(shown) - whole} == screened


def test_dragging_zooms(browser: Any, study_page_of: StudyPage) -> None:
    with opened(browser, study_page_of("frontier")) as shown:
        figure = shown.figure("points")
        first = figure.locator("circle[data-run='0']").get_attribute("cx")
        shown.drag(figure, (0.4, 0.2), (0.7, 0.5))
        assert figure.locator("circle[data-run='0']").get_attribute("cx") != first
        assert figure.is_visible()  # and no trial was opened
        shown.page.get_by_role("button", name="Reset zoom").click()
        assert figure.locator("circle[data-run='0']").get_attribute("cx") == first


@pytest.mark.parametrize("name", ["frontier", "odd values", "users, no level"])
def test_the_spec_of_every_trial_runs_again(browser: Any, study_page_of: StudyPage, name: str) -> None:
    file = study_page_of(name)
    with opened(browser, file) as shown:
        for trial in of(file).trials():
            shown.go(f"trial-{trial.number}")
            shown.page.locator("[data-part='spec']").get_by_role("button", name="Copy YAML").click()
            copied = make_spec(yaml.safe_load(shown.page.evaluate("window.copied")))
            assert copied.model_dump() == trial.spec.model_dump(), trial.number


def test_a_trial_has_its_figures_by_load(browser: Any, study_page_of: StudyPage) -> None:
    file = study_page_of("frontier")
    chosen = of(file).chosen
    assert chosen is not None
    with opened(browser, file) as shown:
        shown.go(f"trial-{chosen.number}")
        rows = json.loads(shown.copied(shown.table("figures"), "JSON"))
        for chart in ("load-ttft", "load-tpot", "load-throughput", "load-speed"):
            assert shown.figure(chart).locator("svg path").count() > 0
    by_metric = {row.pop("title"): row for row in rows}
    loads = {float(load): load for load in by_metric["ttft_ms.p95"]}
    assert sorted(loads) == pytest.approx([point.load for point in chosen.points])
    for point in chosen.points:
        column = loads[min(loads, key=lambda load: abs(load - point.load))]
        for key in ("ttft_ms.p95", "output_tokens_per_s_per_gpu", "completed"):
            assert by_metric[key][column] == pytest.approx(point.summary[key], rel=1e-5)
        assert by_metric["service level"][column] == (point.misses or "met")


def test_two_trials_side_by_side(browser: Any, study_page_of: StudyPage) -> None:
    file = study_page_of("goodput")
    with opened(browser, file) as shown:
        shown.table("ranking").get_by_role("button", name="all that ran").click()
        boxes = shown.table("ranking").locator("tbody input[type=checkbox]")
        first, second = (int(boxes.nth(place).get_attribute("value")) for place in (0, 5))
        boxes.nth(0).click()
        boxes.nth(5).click()
        shown.page.get_by_role("button", name=f"Compare {first} and {second}").click()
        views(shown, f"Trials {first} and {second}")
        fields = json.loads(shown.copied(shown.table("differences"), "JSON"))
        shown.table("versus").locator("[data-choice='at']").select_option("best")
        rows = {row["title"]: row for row in json.loads(shown.copied(shown.table("versus"), "JSON"))}
    pair = [of(file).trial(number) for number in (first, second)]
    settings = [trial.candidate.settings for trial in pair]
    assert {row["path"]: [row["a"], row["b"]] for row in fields} == {
        path: [str(one[path]) for one in settings] for path in settings[0]
    }
    best = [max((point for point in trial.points if point.misses is None), key=lambda one: one.load) for trial in pair]
    for key in ("output_tokens_per_s_per_gpu", "ttft_ms.p95", "gpus"):
        a, b = (figure(point, key) for point in best)
        assert [rows[key]["a"], rows[key]["b"]] == pytest.approx([a, b], rel=1e-5)
        assert rows[key]["share"] == pytest.approx((b - a) / a, rel=1e-3, abs=1e-4)


def test_proof_stands_apart_from_screening(browser: Any, study_page_of: StudyPage) -> None:
    file = study_page_of("cheapest")
    account = of(file).answer.account
    assert account.pruned
    assert account.dropped
    with opened(browser, file) as shown:
        counts = dict(
            shown.page.locator("[data-part='account'] [data-fate]").evaluate_all(
                "ends => ends.map(end => [end.dataset.fate, Number(end.querySelector('b').textContent)])"
            )
        )
        pruned = shown.table("pruned").inner_text()
        trial = next(iter(account.pruned))
        shown.go(f"trial-{trial}")
        assert account.pruned[trial] in shown.page.locator("[data-trial]").inner_text()
    assert counts["pruned"] == len(account.pruned)
    assert counts["dropped"] == len(account.dropped)
    assert counts.get("screened", 0) == len(account.screened)
    assert sum(counts.values()) == account.combinations
    assert all(reason in pruned for reason in account.pruned.values())


def test_values_are_text(browser: Any, study_page_of: StudyPage) -> None:
    with opened(browser, study_page_of("odd values")) as shown:
        assert shown.page.locator("main b:has-text('&amp;')").count() == 0
        assert "</script><b>&amp;" in shown.table("dropped").inner_text()


def test_colours_follow_the_reader_and_pages_print(browser: Any, study_page_of: StudyPage) -> None:
    follows_the_reader(browser, study_page_of("frontier"), hidden=".filters")


def test_an_unknown_trial_is_the_whole_study(browser: Any, study_page_of: StudyPage) -> None:
    with opened(browser, study_page_of("frontier")) as shown:
        for place in ("trial-99999", "compare-1-1", "compare-1", "trial-x"):
            shown.go(place)
            assert shown.figure("points").is_visible(), place


def test_the_page_is_the_same_for_the_same_study(study_page_of: StudyPage) -> None:
    file = study_page_of("frontier")
    assert file.name == FILE
    assert study_page(of(file)) == file.read_text(encoding="utf-8")


def test_the_choice_has_its_launch_files(browser: Any, study_page_of: StudyPage) -> None:
    file = study_page_of("cheapest")
    chosen = of(file).chosen
    assert chosen is not None
    with opened(browser, file) as shown:
        shown.go(f"trial-{chosen.number}")
        card = shown.page.locator("[data-part='launch']")
        for target in ("vllm", "dynamo"):
            card.get_by_role("button", name=target, exact=True).click()
            wanted = write(chosen.spec, target).files
            names = card.locator("[data-file]").evaluate_all("files => files.map(file => file.dataset.file)")
            assert names == list(wanted)
            card.locator("[data-file]").first.get_by_role("button", name="Copy").click()
            assert shown.page.evaluate("window.copied") == wanted[names[0]]
        assert card.get_by_role("button", name="sglang", exact=True).count() == 0
        pruned = next(iter(of(file).answer.account.pruned))
        shown.go(f"trial-{pruned}")
        assert card.count() == 0


def test_a_trial_is_explained_and_its_interval_drawn(browser: Any, tmp_path: Path) -> None:
    made = study("cheapest", tmp_path)
    chosen = made.answer.chosen
    assert chosen is not None
    spec, trace = made.question(chosen)
    told = explain(spec, trace, axes=dict(made.answer.space.axes), replications=20, workers=2).as_json()
    keep(made.folder.path, {"trial": chosen.candidate.number, "load": chosen.load} | told)
    with opened(browser, write_page(made)) as shown:
        assert shown.figure("points").locator(".whisker").count() == 1  # TTFT; what a GPU costs is known
        shown.go(f"trial-{chosen.candidate.number}")
        page = shown.page.locator("[data-part='explanation']")
        changes = json.loads(shown.copied(page.locator("[data-table='changes']"), "JSON"))
        tracks = page.locator(".track")
        for place in range(tracks.count()):
            widths = (
                tracks.nth(place).locator("i").evaluate_all("parts => parts.map(one => parseFloat(one.style.width))")
            )
            assert sum(widths) == pytest.approx(100, abs=0.1)
        low, high = told["intervals"]["ttft_ms.p95"]
        assert f"{low:,.1f}"[:4] in shown.page.locator(".tile[data-metric='ttft_ms.p95']:visible").inner_text()
        other = next(trial.number for trial in made.trials() if trial.number != chosen.candidate.number)
        shown.go(f"trial-{other}")
        assert page.count() == 0
    effects = [*told["helps"], *told["hurts"]]
    assert [row["value"] for row in changes] == [one["figure"]["value"] for one in effects]
    assert low < high


def test_a_damaged_explanation_is_named(tmp_path: Path) -> None:
    made = study("one trial", tmp_path)
    file = made.folder.path / "explanations" / "0.json"
    file.parent.mkdir()
    file.write_text("{")
    with pytest.raises(InputError, match=r"0\.json: damaged"):
        write_page(made)


def test_of_very_many_runs_some_are_left_out(browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = study("frontier", tmp_path)
    for name in ("MOST_PARTS", "MOST_DETAILED", "MOST_RUNS"):
        monkeypatch.setattr(f"servetwin.report.study.trials.{name}", 5)
    answers = {point.candidate.number for point in made.answer.points}
    with opened(browser, write_page(made)) as shown:
        assert "trials.parquet holds all" in shown.figure("points").inner_text()
        listed = [shown.page.evaluate(f"runs[{run}].trial.number") for run in dots(shown)]
        for trial in made.trials():
            wanted = len(trial.points) if trial.number in answers else min(len(trial.points), 1)
            assert listed.count(trial.number) == wanted
        for trial in list(made.trials())[:3]:
            shown.go(f"trial-{trial.number}")
            views(shown, f"Trial {trial.number}")
