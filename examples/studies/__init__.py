"""Published findings, looked for in simulations: inputs that were published are fixed, those that were not are swept.

Each is one command, such as `python -m examples.studies.knee`; it prints a table and writes it as CSV and Markdown.
What was found is in `docs/studies.md`.
"""
