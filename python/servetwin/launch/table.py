"""What is known of each flag of each engine: one YAML file an engine, in `tables`.

modelled:        flag: the field of the spec that it becomes
neutral:         flag: the values that change nothing here; others are refused
aliases:         short or other form: flag
switches:        flags that take no value
only:            version: flags that other versions do not have
without_effect:  why: flags that do not matter here
refused:         why: flags that do and are not modelled; off (false or 0) is accepted
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

import yaml

from ..errors import InputError
from ..spec.engine import TITLES
from ..spec.engine.sglang import VERSIONS as SGLANG
from ..spec.engine.trtllm import VERSIONS as TRTLLM
from ..spec.engine.vllm import VERSIONS as VLLM

Status = Literal["modelled", "neutral", "without effect", "refused"]

ENGINES = tuple(TITLES)
VERSIONS = {"vllm": VLLM, "sglang": SGLANG, "trtllm": TRTLLM}
"""The first is taken unless another is named."""


@dataclass(frozen=True)
class Flag:
    name: str
    """Without dashes in front."""
    status: Status
    what: str
    """The field it becomes, or why it does not matter or is refused."""
    values: tuple[str, ...] = ()
    """Of a neutral flag: the values that change nothing."""


@dataclass(frozen=True)
class Table:
    """The flags of one version of an engine."""

    engine: str
    version: str
    flags: dict[str, Flag]
    aliases: dict[str, str]
    switches: frozenset[str]

    def find(self, written: str, *, exactly: bool = False) -> str | None:
        """The flag meant by a name without dashes in front, or by an unambiguous beginning of it.

        Parsers of vLLM and SGLang take beginnings, on the command line; TensorRT-LLM's does not.
        """
        name = written.replace("_", "-")
        name = self.aliases.get(name, name)
        if name in self.flags or name == "config":
            return name
        if exactly or self.engine == "trtllm":
            return None
        names = {self.aliases.get(known, known) for known in (*self.flags, *self.aliases) if known.startswith(name)}
        return names.pop() if len(names) == 1 else None

    def nearest(self, written: str) -> str | None:
        close = difflib.get_close_matches(written.replace("_", "-"), [*self.flags, *self.aliases], n=1, cutoff=0.75)
        return close[0] if close else None


def find_table(engine: str, version: str | None) -> Table:
    """The newest version's unless another is named. Raises InputError."""
    if engine not in VERSIONS:
        raise InputError("no such engine", field="--engine", found=engine, wanted=f"one of {', '.join(VERSIONS)}")
    known = VERSIONS[engine]
    if version is not None and version not in known:
        raise InputError(
            f"no rules for this version of {TITLES[engine]}",
            field="--version",
            found=version,
            wanted=f"one of {', '.join(known)}",
        )
    return load_table(engine, version or known[0])


def modelled_release(engine: str, release: str | None) -> str | None:
    """The version whose rules a release follows, if they are modelled."""
    if release is None:
        return None
    return next((known for known in VERSIONS[engine] if release == known or release.startswith(f"{known}.")), None)


def load_table(engine: str, version: str) -> Table:
    """`version` is one of VERSIONS."""
    text = resources.files(__package__).joinpath("tables", f"{engine}.yaml").read_text(encoding="utf-8")
    # The C loader reads hundreds of flags in a tenth of the time, where there is one.
    data: dict[str, Any] = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    flags = {name: Flag(name, "modelled", field) for name, field in data["modelled"].items()}
    for name, values in data["neutral"].items():
        flags[name] = Flag(name, "neutral", f"changes nothing if {' or '.join(values)}", tuple(values))
    for section, status in (("without_effect", "without effect"), ("refused", "refused")):
        for why, names in data[section].items():
            flags |= {name: Flag(name, status, why) for name in names}  # type: ignore[arg-type]
    missing = {name for other, names in data.get("only", {}).items() if other != version for name in names}
    return Table(
        engine=engine,
        version=version,
        flags={name: flags[name] for name in sorted(flags) if name not in missing},
        aliases=data["aliases"],
        switches=frozenset(data["switches"]),
    )
