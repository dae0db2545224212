"""A result as one page that needs nothing else: no network, no server, no other file.

Start with `document.py`. What the page shows is gathered from the result here (`view.py` and the modules it calls),
aggregated, so that a page stays small however long the run; the browser only draws it (`page.js`, `charts.js`).
"""
