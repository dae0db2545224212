"""A profile comes back as it was written, is used as it was fitted, and says where it does not reach."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from servetwin.calibrate import calibrate
from servetwin.calibrate.measured import Measurement, Request
from servetwin.calibrate.possible import check_possible, least_pass_ps
from servetwin.calibrate.read import read_measurements
from servetwin.calibrate.runs import Simulator, loads
from servetwin.cli import app
from servetwin.describe import resolve
from servetwin.errors import InputError, SpecError
from servetwin.reference import Tabulated, step_time
from servetwin.simulation import simulate
from servetwin.spec import load_spec, make_spec
from servetwin.timing import pass_limits
from servetwin.timing.calibrated import Calibrated, cholesky
from servetwin.timing.draws import ErrorDraw, drawn
from servetwin.timing.profile import Domain, Profile, read_profile, write_profile
from servetwin.timing.tables import Measured
from servetwin.timing.terms import computed_share, with_terms
from servetwin.units import PS_PER_MS, PS_PER_S

from .test_readers import aiperf, lines, servingsim
from .worlds import SPEC, measured, sent, spec

SIMULATOR = Simulator(spec())


def requests_file(folder: Path, *, noise: float = 0.01) -> Path:
    """What a deployment a quarter slower than the model would have shown, as AIPerf writes it."""
    rows = []
    for one in measured(SIMULATOR, {"memory": 1.25, "request_ms": 10.0}, noise=noise).requests:
        start = 1_700_000_000_000_000_000 + one.sent_ps // 1000
        row = aiperf(0)
        row["metadata"] |= {"request_start_ns": start, "request_end_ns": start + one.latency_ps // 1000}
        row["metrics"]["input_sequence_length"]["value"] = one.input_tokens
        row["metrics"]["output_sequence_length"]["value"] = one.output_tokens
        row["metrics"]["time_to_first_token"]["value"] = one.ttft_ps / 1e9
        rows.append(row)
    file = folder / "profile_export.jsonl"
    file.write_text(lines(rows))
    return file


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a spec, measurements and the profile that the command made of them."""
    folder = tmp_path_factory.mktemp("calibrated")
    (folder / "spec.yaml").write_text(yaml.safe_dump(SPEC))
    file = requests_file(folder)
    out = folder / "profile.yaml"
    run = CliRunner().invoke(app, ["calibrate", str(file), "--spec", str(folder / "spec.yaml"), "--out", str(out)])
    assert run.exit_code == 0, run.output
    assert "held out: the later half of the requests" in run.output
    assert "timing: {profile: profile.yaml}" in run.output
    return folder


def using(made: Path, **changes: Any) -> Any:
    (made / "using.yaml").write_text(yaml.safe_dump({**SPEC, "timing": {"profile": "profile.yaml"}, **changes}))
    return load_spec(made / "using.yaml")


def test_a_profile_comes_back(made: Path, tmp_path: Path) -> None:
    profile, over = read_profile(made / "profile.yaml")
    assert over.kind == "analytic"  # type: ignore[attr-defined]
    for name in ("again.yaml", "again.gz"):
        write_profile(profile, tmp_path / name)
        assert read_profile(tmp_path / name)[0] == profile, "text, whatever its name"
    assert abs(profile.terms["memory"].value / 1.25 - 1) < 0.1
    assert profile.sources[0].requests == 240


def test_a_spec_runs_as_it_was_fitted(made: Path) -> None:
    profile, _ = read_profile(made / "profile.yaml")
    pool = resolve(using(made)).first
    assert isinstance(pool.timing, Calibrated)
    fitted = with_terms(
        SIMULATOR.deployment.first.lowered, profile.values, SIMULATOR.timing.host_ms, pool.timing.balance
    )
    ours = {name: value for name, value in pool.lowered.description.items() if name != "measured"}
    assert ours == {name: value for name, value in fitted.description.items() if name != "measured"}
    workload = {"kind": "poisson", "requests": 100, "rate_per_s": 4, "input_tokens": 600, "output_tokens": 100}
    result = simulate(using(made, workload=workload))
    timing = result.provenance["timing"]
    assert timing["evidence"] == "calibrated"
    assert timing["shares"] == {"calibrated": 1.0}
    assert timing["front_end"]["request_ms"] == pytest.approx(profile.values["request_ms"])


def test_a_profile_of_stages_has_the_host_in_the_first(made: Path, tmp_path: Path) -> None:
    staged = {"parallel": {"pipeline": 2}}
    profile, _ = read_profile(made / "profile.yaml")
    fitted_for = profile.fitted_for.model_copy(update={"pipeline": 2})
    write_profile(profile.model_copy(update={"fitted_for": fitted_for}), tmp_path / "profile.yaml")
    plain, fitted = resolve(spec(**staged)).first, resolve(using(tmp_path, **staged)).first
    hosts = []
    for model, over in ((fitted.timing, plain.lowered), (fitted.later[0][0], plain.later[0][1])):
        assert isinstance(model, Calibrated)
        slower = replace(model, terms={"memory": 2.0, "host_ms": model.host_ms + 1.5})
        described = slower.lower(pass_limits(fitted.engine)).description
        assert described["tokens"]["start_ps"][1] == pytest.approx(2 * over.description["tokens"]["start_ps"][1], abs=1)
        hosts.append(described["host"]["base_ps"] - over.description["host"]["base_ps"])
    assert hosts == [1_500_000_000, 0]


def test_beyond_its_domain_the_evidence_says_so(made: Path) -> None:
    workload = {"kind": "poisson", "requests": 20, "rate_per_s": 1, "input_tokens": 7500, "output_tokens": 600}
    shares = simulate(using(made, workload=workload)).provenance["timing"]["shares"]
    assert shares["extrapolated"] > 0.5


def test_a_profile_is_for_what_it_was_fitted_to(made: Path) -> None:
    with pytest.raises(SpecError, match=r"timing.profile: was fitted to measurements with gpu h100, and the spec has"):
        resolve(using(made, gpu="h200"))


def test_draws_move_terms_by_their_errors(made: Path) -> None:
    model = resolve(using(made)).first.timing
    assert isinstance(model, Calibrated)
    first, again, other = (drawn(model, ErrorDraw(1, number)) for number in (0, 0, 1))
    assert first == again
    assert first != other


def test_correlated_draws_keep_their_correlation() -> None:
    matrix = [[1.0, -0.8, 0.1], [-0.8, 1.0, 0.2], [0.1, 0.2, 1.0]]
    lower = cholesky(matrix)
    back = [[sum(a * b for a, b in zip(x, y, strict=True)) for y in lower] for x in lower]
    assert [value for row in back for value in row] == pytest.approx([value for row in matrix for value in row])


def test_a_domain_narrows_what_was_measured() -> None:
    domain = Domain(pass_tokens=512, batch=20, context_tokens=900, prompt_tokens=(10, 800), requests_per_s=(1, 2))
    known = Measured(2048, (1, 16, 64), (4096, 2048, 512), (128, 1024), (9000, 1000))
    narrow = domain.measured(known)
    assert (narrow.tokens, narrow.rows, narrow.contexts) == (512, (1, 16, 20), (900, 900, 512))
    assert (narrow.prompts, narrow.reach) == ((128, 512), (1600, 1000))
    assert domain.measured(None).rows == (20,)


def test_factors_of_products_part_at_the_balance() -> None:
    assert [computed_share(tokens, 256) for tokens in (1, 128, 256, 512, 9999)] == [0, 0, 0.5, 1, 1]
    lowered = SIMULATOR.deployment.first.lowered
    plain, changed = (
        step_time(with_terms(lowered, terms, 0.5, 256.0).description)
        for terms in ({}, {"memory": 1.5, "compute": 0.9, "attention": 1.2, "host_ms": 0.75})
    )
    assert isinstance(plain, Tabulated)
    assert isinstance(changed, Tabulated)
    assert changed.tokens.value(1) == pytest.approx(1.5 * plain.tokens.value(1), rel=1e-6)
    assert changed.tokens.value(2048) == pytest.approx(0.9 * plain.tokens.value(2048), rel=1e-6)
    assert changed.decode.value(8, 8000) == pytest.approx(1.2 * plain.decode.value(8, 8000), rel=1e-5)
    assert changed.host.base_ps - plain.host.base_ps == 250_000_000


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"servetwin_profile": 2}, r"servetwin_profile: another version's; found 2"),
        ({"servetwin_profile": None}, "is no profile"),
        ({"spread": -1}, r"spread: input should be greater than or equal to 0"),
        ({"over": {"kind": "linear", "base_ms": 5.0}}, r"over.kind: cannot be calibrated"),
        ({"over": {"kind": "nonsense"}}, "nonsense"),
        ({"correlation": [[1.0]]}, r"correlation: needs a row and a column for each term"),
    ],
)
def test_wrong_profiles_are_explained(made: Path, tmp_path: Path, change: dict[str, Any], wrong: str) -> None:
    data = yaml.safe_load((made / "profile.yaml").read_text()) | change
    (tmp_path / "p.yaml").write_text(yaml.safe_dump(data))
    with pytest.raises(InputError, match=wrong):
        read_profile(tmp_path / "p.yaml")


def test_a_profile_that_is_not_there() -> None:
    with pytest.raises(InputError, match=r"nowhere\.yaml: cannot be read: No such file"):
        resolve(make_spec({**SPEC, "timing": {"profile": "nowhere.yaml"}}))


def test_what_is_too_fast_is_left_out_by_name(tmp_path: Path) -> None:
    made = measured(SIMULATOR, {})
    fast = made.requests[5]
    made.requests[5] = type(fast)(fast.at, fast.sent_ps, fast.input_tokens, 101, 10**9, 10**9 + 10**11)
    checked = check_possible(SIMULATOR, made)
    assert len(checked.requests) == len(made.requests) - 1
    (reason,) = checked.left_out
    assert "faster than this GPU can read the weights" in reason
    made.requests = [
        type(one)(one.at, one.sent_ps, one.input_tokens, one.output_tokens, one.ttft_ps // 100, one.latency_ps // 100)
        for one in made.requests
    ]
    with pytest.raises(InputError, match="faster than this GPU can read the weights"):
        check_possible(SIMULATOR, made)


def test_the_bound_is_a_read_of_the_weights() -> None:
    assert least_pass_ps(SIMULATOR) == pytest.approx(15.0e9 / 3.35e12 * 1e12, rel=0.02), "llama-3.1-8b on an H100"


def test_more_at_a_time_than_are_served() -> None:
    few = Simulator(spec(engine={"name": "vllm", "max_num_seqs": 4, "max_model_len": 8192}))
    with pytest.raises(InputError, match=r"requests were answered at a time, and the spec serves 4"):
        check_possible(few, measured(SIMULATOR, {}))


@pytest.mark.parametrize(
    ("sent_ms", "fits"), [((0, 1, 2, 3), True), ((0, 1, 2, 3, 4), False), ((0, 0, 0, 0, 99), True)]
)
def test_each_occupies_a_row_from_its_first_token_to_its_last(sent_ms: tuple[int, ...], fits: bool) -> None:
    few = Simulator(spec(engine={"name": "vllm", "max_num_seqs": 4, "max_model_len": 8192}))
    requests = [Request("", at * PS_PER_MS, 100, 2, 10 * PS_PER_MS, 90 * PS_PER_MS) for at in sent_ms]
    asked = Measurement("made.jsonl", "made", "0" * 64, requests)
    if fits:
        assert check_possible(few, asked) is asked
    else:
        with pytest.raises(InputError, match=r"5 requests were answered at a time, and the spec serves 4"):
            check_possible(few, asked)


@pytest.mark.parametrize("times_ms", [(1, 100), (50, 50.5)], ids=["first token", "between tokens"])
def test_one_that_is_too_fast_is_left_out(times_ms: tuple[float, float]) -> None:
    slow = [Request("", row * PS_PER_S, 100, 11, 50 * PS_PER_MS, 200 * PS_PER_MS) for row in range(19)]
    ttft_ps, latency_ps = (round(ms * PS_PER_MS) for ms in times_ms)
    fast = Request("", 19 * PS_PER_S, 100, 11, ttft_ps, latency_ps)
    checked = check_possible(SIMULATOR, Measurement("made.jsonl", "made", "0" * 64, [*slow, fast]))
    assert checked.requests == slow
    assert sum(checked.left_out.values()) == 1


def test_longer_than_is_served() -> None:
    short = Simulator(spec(engine={"name": "vllm", "max_model_len": 1024}))
    with pytest.raises(InputError, match=r"is longer than the spec serves \(1,024\)"):
        check_possible(short, measured(SIMULATOR, {}))


def test_a_point_below_the_bound(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("users,isl,osl,ttft_ms,tpot_ms\n4,500,50,30,0.008\n")
    with pytest.raises(InputError, match=r"s.csv:2: tpot: a mean TPOT that this GPU cannot reach"):
        calibrate([tmp_path / "s.csv"], spec(), beside=tmp_path)


def test_too_few_points(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("users,isl,osl,ttft_ms,tpot_ms\n4,500,50,30,8\n8,500,50,40,9\n")
    with pytest.raises(InputError, match="cannot tell 5 terms"):
        calibrate([tmp_path / "s.csv"], spec(), beside=tmp_path)


def test_a_sweep_is_fitted(tmp_path: Path) -> None:
    rows = ["users,input_tokens,output_tokens,requests,ttft_ms,tpot_ms"]
    for users in (1, 2, 4, 8, 16, 32):
        text = f"users,isl,osl,requests,ttft_ms\n{users},1000,100,{10 * users},1\n"
        (tmp_path / "ask.csv").write_text(text)
        (load,) = loads(SIMULATOR.spec, read_measurements(tmp_path / "ask.csv"))
        run = SIMULATOR.simulated(load, {"memory": 1.3})
        ttft = sum(run.ttft_ps) / len(run.ttft_ps)
        tpot = sum((end - first) / 99 for first, end in zip(run.ttft_ps, run.latency_ps, strict=True)) / len(
            run.ttft_ps
        )
        rows.append(f"{users},1000,100,{10 * users},{ttft / 1e9},{tpot / 1e9}")
    (tmp_path / "s.csv").write_text("\n".join(rows) + "\n")
    found = calibrate([tmp_path / "s.csv"], spec(), beside=tmp_path, fixed=["host_ms"])
    assert found.judged.by == "every second of 6 measurements, by their load"
    assert found.fit.terms["memory"] == pytest.approx(1.3, rel=0.05)


def test_clients_and_engines_are_not_mixed(tmp_path: Path, made: Path) -> None:
    with pytest.raises(InputError, match="cannot be fitted together"):
        calibrate([made / "profile_export.jsonl", servingsim(tmp_path)], spec(), beside=tmp_path)


def test_unknown_terms_cannot_be_fixed(made: Path) -> None:
    with pytest.raises(InputError, match=r"--fix: no term of this timing; found hots_ms"):
        calibrate([made / "profile_export.jsonl"], spec(), beside=made, fixed=["hots_ms"])


def test_a_folder_is_no_profile(made: Path) -> None:
    args = ["calibrate", str(made / "profile_export.jsonl"), "--spec", str(made / "spec.yaml"), "--out"]
    assert CliRunner().invoke(app, [*args, str(made)]).exit_code == 2
    assert CliRunner().invoke(app, [*args, str(made / "no" / "p.yaml")]).exit_code == 2


def test_sent_requests_are_in_order() -> None:
    times = [one.sent_ps for one in sent(50)]
    assert times == sorted(times)


def test_profile_fields_are_all_written(made: Path) -> None:
    assert set(yaml.safe_load((made / "profile.yaml").read_text())) == set(Profile.model_fields)
