"""Fetching, from a server on this machine: whole, broken off and taken up again, changed, not there."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from servetwin import InputError
from servetwin.workload import public
from servetwin.workload.fetch import fetch

HOST = "127.0.0.1"
BODY = bytes(range(256)) * 40
SHA256 = hashlib.sha256(BODY).hexdigest()


@dataclass
class Remote:
    """What the server has and does, and what it was asked."""

    url: str = ""
    body: bytes = BODY
    etag: str | None = '"one"'
    cut: int | None = None
    ranges: bool = True
    status: int = 200
    asked: list[str | None] = field(default_factory=list)


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> Iterator[Remote]:
    there = Remote()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            start, wanted = 0, self.headers.get("Range")
            there.asked.append(wanted)
            tag = self.headers.get("If-Range")
            if there.status != 200:
                self.send_error(there.status)
                return
            if wanted and there.ranges and tag in (None, there.etag):
                start = int(wanted.removeprefix("bytes=").removesuffix("-"))
            if start >= len(there.body) > 0 and start:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(there.body)}")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(there.body) - 1}/{len(there.body)}")
            if there.etag:
                self.send_header("ETag", there.etag)
            self.send_header("Content-Length", str(len(there.body) - start))
            self.end_headers()
            end = len(there.body) if there.cut is None else there.cut
            self.wfile.write(there.body[start:end])

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer((HOST, 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    there.url = f"http://{HOST}:{server.server_port}/trace.jsonl"
    for name, sha256 in (("pinned", SHA256), ("unknown", None)):
        known = public.PublicTrace(there.url, "trace.jsonl", sha256, "none", "bytes")
        monkeypatch.setitem(public.PUBLIC, name, known)
    yield there
    server.shutdown()
    thread.join()
    server.server_close()


def test_whole(remote: Remote, tmp_path: Path) -> None:
    shares: list[float] = []
    fetched = fetch("pinned", tmp_path / "new", progress=shares.append)
    assert (fetched.file, fetched.sha256, fetched.new, fetched.known) == (
        tmp_path / "new/trace.jsonl",
        SHA256,
        True,
        True,
    )
    assert fetched.file.read_bytes() == BODY
    assert shares[-1] == 1
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["trace.jsonl"], "nothing else is left"
    again = fetch("pinned", tmp_path / "new")
    assert (again.new, len(remote.asked)) == (False, 1)


def test_a_hash_that_is_not_known_is_told(remote: Remote, tmp_path: Path) -> None:
    fetched = fetch("unknown", tmp_path)
    assert (fetched.sha256, fetched.known) == (SHA256, False)


@pytest.mark.parametrize("etag", ['"one"', None, 'W/"weak"'])
def test_what_broke_off_is_taken_up(remote: Remote, tmp_path: Path, etag: str | None) -> None:
    remote.etag, remote.cut = etag, 3000
    with pytest.raises(InputError, match=r"3,000 bytes are in .* run again to go on"):
        fetch("pinned", tmp_path)
    assert not (tmp_path / "trace.jsonl").exists()
    remote.cut = None
    fetched = fetch("pinned", tmp_path)
    assert remote.asked == [None, "bytes=3000-"]
    assert fetched.file.read_bytes() == BODY
    assert [file.name for file in tmp_path.iterdir()] == ["trace.jsonl"]


def test_a_server_without_ranges_starts_over(remote: Remote, tmp_path: Path) -> None:
    (tmp_path / "trace.jsonl.part").write_bytes(BODY[:3000])
    remote.ranges = False
    assert fetch("pinned", tmp_path).file.read_bytes() == BODY


def test_a_changed_file_is_not_patched_onto_the_old_one(remote: Remote, tmp_path: Path) -> None:
    remote.cut = 3000
    with pytest.raises(InputError):
        fetch("unknown", tmp_path)
    remote.body, remote.etag, remote.cut = b"new" * 2000, '"two"', None
    assert fetch("unknown", tmp_path).file.read_bytes() == b"new" * 2000


def test_a_part_that_is_complete_or_too_long(remote: Remote, tmp_path: Path) -> None:
    for part in (BODY, BODY + b"more"):
        (tmp_path / "trace.jsonl.part").write_bytes(part)
        assert fetch("pinned", tmp_path).file.read_bytes() == BODY
        (tmp_path / "trace.jsonl").unlink()


def test_another_file_is_thrown_away(remote: Remote, tmp_path: Path) -> None:
    remote.body = b"<html>moved</html>"
    with pytest.raises(InputError, match="not the trace it should be") as caught:
        fetch("pinned", tmp_path)
    assert caught.value.wanted == SHA256
    assert list(tmp_path.iterdir()) == []


def test_another_file_of_the_name_stays(remote: Remote, tmp_path: Path) -> None:
    (tmp_path / "trace.jsonl").write_bytes(b"mine")
    with pytest.raises(InputError, match="is there already, and is another file"):
        fetch("pinned", tmp_path)
    assert (tmp_path / "trace.jsonl").read_bytes() == b"mine"


def test_refusals(remote: Remote, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mooncake_conversation"):
        fetch("mooncake", tmp_path)
    remote.status = 404
    with pytest.raises(InputError, match="the server answers 404"):
        fetch("pinned", tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        fetch("pinned", tmp_path / "file")


def test_offline(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "servetwin", "trace", "fetch", "azure_2023_code", "--to", str(tmp_path / "new")],
        env=os.environ | {"https_proxy": f"http://{HOST}:9", "HTTPS_PROXY": f"http://{HOST}:9"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 2
    assert "cannot be reached" in ran.stderr
    assert "is there a network?" in ran.stderr
    assert list(tmp_path.iterdir()) == []


def test_known_traces_have_addresses_and_hashes() -> None:
    for trace in public.PUBLIC.values():
        assert trace.url.startswith("https://raw.githubusercontent.com/")
        assert trace.sha256 is None or len(trace.sha256) == 64
