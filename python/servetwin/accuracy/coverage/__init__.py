"""How often intervals hold what they are for: in worlds whose truth is known, and on measured runs."""
