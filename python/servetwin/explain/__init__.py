"""Why a deployment does what it does: where the time goes, what binds, and what single changes would do.

`explain` is the way in; `parts` splits requests' times, `binding` reads the replicas' states, `passes` splits a
decode pass, `changes` lists what could be done about it, and `effects` simulates that.
"""

from .make import CONFIDENCE, Explanation, explain

__all__ = ["CONFIDENCE", "Explanation", "explain"]
