"""A study as one page: its frontier, each of its trials, and what became of every combination.

Start with `page.py`. The data are gathered here (`trials.py`, `account.py`), the browser draws them (`overview.js`,
`points.js`, `trial.js`, `versus.js`, `account.js`).
"""
