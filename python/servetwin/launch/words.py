"""The engine's own words in a command: what stands behind `vllm serve`, `python -m sglang.launch_server` and so on."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from ..errors import InputError

COMMANDS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("vllm", ("vllm", "serve")),
    ("vllm", ("-m", "vllm.entrypoints.openai.api_server")),
    ("vllm", ("-m", "vllm.entrypoints.cli.main", "serve")),
    ("sglang", ("-m", "sglang.launch_server")),
    ("sglang", ("sglang", "serve")),
    ("trtllm", ("trtllm-serve", "serve")),
    ("trtllm", ("trtllm-serve",)),
)

LAUNCHES = "vllm serve …, python -m sglang.launch_server …, or trtllm-serve …"

IMAGES = {"vllm": "vllm", "sglang": "sglang", "tensorrt": "trtllm", "trtllm": "trtllm"}
"""Parts of images' names, and the engine that they run."""

CONTAINERS = ("docker", "podman", "nerdctl")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_ENDS = {";", "&&", "||", "|", "&", ">", ">>", "2>&1", "2>"}


@dataclass(frozen=True)
class Command:
    engine: str | None
    """None if the words do not say."""
    arguments: list[str]
    variables: list[str]
    """Names of environment variables set in front."""
    release: str | None = None
    """Of the engine, where an image's tag tells."""


FILES = (".yaml", ".yml", ".json", ".sh")
"""Suffixes of what is read in place of a line."""


def is_file(line: str) -> bool:
    """Whether what was given is the path of a manifest or a script, rather than a line."""
    return line.endswith(FILES) and not any(blank in line.strip() for blank in " \n\t")


def split(line: str) -> list[str]:
    """As a shell would; lines that end in a backslash go on. Raises InputError."""
    joined = re.sub(r"\\[ \t]*\r?\n", " ", line)
    try:
        return shlex.split(joined, comments=True)
    except ValueError as error:
        raise InputError(f"not a command line: {str(error).lower()}", field="line") from None


def statements(script: str) -> list[str]:
    """The words of a shell script, its lines told apart by `;`. Raises InputError."""
    text, quote = "", ""
    for one in re.sub(r"\\[ \t]*\r?\n", " ", script):
        if one in "'\"" and quote in ("", one):
            quote = "" if quote else one
        text += "\n;\n" if one == "\n" and not quote else one
    return split(text)


def find_command(words: list[str]) -> Command:
    """Leaves out variables, wrappers and what follows the command. Bare flags are taken as they are."""
    variables = [word.partition("=")[0] for word in words if _VARIABLE.match(word)]
    for engine, command in COMMANDS:
        for start in range(len(words) - len(command) + 1):
            here = [words[start].rsplit("/", 1)[-1], *words[start + 1 : start + len(command)]]
            if tuple(here) == command:
                set_in_front = [word.partition("=")[0] for word in words[:start] if _VARIABLE.match(word)]
                return Command(engine, _until_end(words[start + len(command) :]), set_in_front)
    for at, word in enumerate(words):
        engine_of_image = next((IMAGES[part] for part in IMAGES if part in word.lower()), None)
        if words[0].rsplit("/", 1)[-1] in CONTAINERS and at > 0 and not word.startswith("-") and engine_of_image:
            return Command(engine_of_image, _until_end(words[at + 1 :]), [], release_of(word))
    rest = words[len(variables) :]
    if rest and not rest[0].startswith("-"):
        raise InputError(
            "no launch command of a known engine in it",
            field="line",
            found=repr(rest[0]),
            wanted=LAUNCHES,
        )
    return Command(None, _until_end(rest), variables)


def release_of(image: str) -> str | None:
    """`vllm/vllm-openai:v0.19.0` is 0.19.0."""
    match = re.search(r":v?(\d+\.\d+(?:\.\d+)?)", image)
    return match[1] if match else None


def _until_end(words: list[str]) -> list[str]:
    end = next((i for i, word in enumerate(words) if word in _ENDS), len(words))
    return words[:end]
