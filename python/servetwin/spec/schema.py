"""The JSON schema of a spec file, for editors."""

from __future__ import annotations

from typing import Any

from .deployment import Spec
from .fields import kinds_at


def schema() -> dict[str, Any]:
    """JSON schema 2020-12, with the short forms that pydantic does not know of."""
    result = Spec.model_json_schema()
    result["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    for field in ("router", "timing"):
        result["properties"][field] = {"anyOf": [{"enum": list(kinds_at(field))}, result["properties"][field]]}
    result["properties"]["workload"].pop("discriminator", None)
    return result
