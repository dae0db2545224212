"""Which deployment to run, and why.

    folder = create(Path("study"), load_spec("plan.yaml"), trace=None)
    answer = plan(folder, workers=2)

To read the code, begin with `study.py` (runs that are asked for, and counted) and `make.py` (from a spec to an
answer). A search is one of `cheapest.py`, `highest.py` and `frontier.py`, over a `space.py`; `ledger.py` keeps what was
found out, `runs.py` carries runs out.
"""
