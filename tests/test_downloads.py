"""Tests of `downloads`, against a server on this machine that can be made to fail."""

import hashlib
import logging
import os
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from stlearnkit import downloads
from stlearnkit.downloads import RemoteFile, data_dir, fetch, registry

CONTENT = bytes(range(256)) * 400
SHA256 = hashlib.sha256(CONTENT).hexdigest()
GIT_BLOB = hashlib.sha1(b"blob 102400\0" + CONTENT).hexdigest()

# Before the tests get a data folder of their own.
REAL_DATA = Path(os.environ.get("STLEARNKIT_DATA", ""))

FETCH = """
import sys
from stlearnkit.downloads import RemoteFile, fetch
fetch(RemoteFile("toy", "a/file.bin", sys.argv[1], sha256=sys.argv[2]))
"""


class Server(ThreadingHTTPServer):
    """Answers each request by calling `answer` with the handler."""

    daemon_threads = True
    answer: Callable[[Any], None]
    requests = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/file.bin"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.requests += 1
        self.server.answer(self)

    def start(self, n_bytes: int = len(CONTENT)) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(n_bytes))
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Keep the test output clean."""


def send_whole(request: Handler) -> None:
    request.start()
    request.wfile.write(CONTENT)


def send_half(request: Handler) -> None:
    request.start()
    request.wfile.write(CONTENT[: len(CONTENT) // 2])


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Handler) as running:
        running.answer = send_whole
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give each test a user cache of its own, and no other data folder."""
    monkeypatch.delenv("STLEARNKIT_DATA", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(downloads, "_WAITS_S", (0.0, 0.0))
    return data_dir()


@pytest.fixture
def remote(server: Server) -> RemoteFile:
    return RemoteFile("toy", "a/file.bin", server.url, sha256=SHA256)


def files_in(folder: Path) -> list[str]:
    return sorted(
        str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()
    )


def wait_until(condition: Callable[[], bool], timeout_s: float = 20.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "gave up waiting"
        time.sleep(0.01)


def test_downloads_to_the_cache_then_needs_no_server(
    remote: RemoteFile, server: Server, cache: Path
):
    copy = fetch(remote)
    assert copy == cache / "toy/a/file.bin"
    assert copy.read_bytes() == CONTENT
    assert files_in(cache) == ["toy/a/file.bin"]
    server.answer = lambda request: request.send_error(500)
    assert fetch(remote) == copy
    assert server.requests == 1


def test_shows_progress(remote: RemoteFile, capfd: pytest.CaptureFixture[str]):
    fetch(remote)
    assert "100%" in capfd.readouterr().err


def test_copy_can_be_read_by_others(remote: RemoteFile):
    before = os.umask(0o022)
    try:
        copy = fetch(remote)
    finally:
        os.umask(before)
    assert stat.S_IMODE(copy.stat().st_mode) == 0o644


def test_git_blob_id_is_enough(server: Server):
    # The same id as `git hash-object` gives for the five letters and a line end.
    hello = RemoteFile(
        "toy",
        "hello.txt",
        server.url,
        git_blob="ce013625030ba8dba906f756967f9e9ca394464a",
    )
    server.answer = lambda request: (
        request.start(6),
        request.wfile.write(b"hello\n"),
    )
    assert fetch(hello).read_bytes() == b"hello\n"


def test_sha256_wins_over_a_git_blob_id(server: Server):
    both = RemoteFile("toy", "f", server.url, sha256=SHA256, git_blob="0" * 40)
    assert fetch(both).read_bytes() == CONTENT


@pytest.mark.parametrize("damage", [b"", CONTENT[:-1], CONTENT[:-1] + b"x"])
def test_damaged_copy_is_named_and_fetched_again(
    remote: RemoteFile, cache: Path, damage: bytes, caplog: pytest.LogCaptureFixture
):
    copy = cache / remote.key
    copy.parent.mkdir(parents=True)
    copy.write_bytes(damage)
    with caplog.at_level(logging.WARNING, logger="stlearnkit"):
        assert fetch(remote).read_bytes() == CONTENT
    (message,) = caplog.messages
    assert str(copy) in message
    assert SHA256 in message
    assert hashlib.sha256(damage).hexdigest() in message


def test_damaged_copy_stays_until_a_whole_one_is_there(
    remote: RemoteFile, server: Server, cache: Path
):
    copy = cache / remote.key
    copy.parent.mkdir(parents=True)
    copy.write_bytes(b"damaged")
    server.answer = lambda request: request.send_error(503)
    with pytest.raises(ConnectionError, match="503"):
        fetch(remote)
    assert files_in(cache) == ["toy/a/file.bin"]
    assert copy.read_bytes() == b"damaged"


def test_wrong_content_is_refused_and_nothing_is_left(server: Server, cache: Path):
    remote = RemoteFile("toy", "f", server.url, n_bytes=7, git_blob="0" * 40)
    with pytest.raises(
        ConnectionError,
        match=rf"its git blob id is {GIT_BLOB} \(102,400 bytes\), expected 0{{40}} "
        r"\(7 bytes\)",
    ):
        fetch(remote)
    assert files_in(cache) == []
    assert server.requests == 3


def test_server_that_drops_midway_is_asked_again(
    remote: RemoteFile, server: Server, cache: Path
):
    answers = [send_half, lambda request: request.send_error(503), send_whole]
    server.answer = lambda request: answers[server.requests - 1](request)
    assert fetch(remote).read_bytes() == CONTENT
    assert server.requests == 3
    assert files_in(cache) == ["toy/a/file.bin"]


def test_waits_between_attempts(
    remote: RemoteFile, server: Server, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(downloads, "_WAITS_S", (0.1, 0.2))
    server.answer = lambda request: request.send_error(503)
    start = time.monotonic()
    with pytest.raises(ConnectionError, match="after 3 attempts"):
        fetch(remote)
    assert time.monotonic() - start >= 0.3


def test_no_network_says_what_is_missing_and_what_to_do(cache: Path):
    # Nothing listens on port 9 (discard) of this machine.
    remote = RemoteFile(
        "toy", "f.jpg", "http://127.0.0.1:9/f.jpg", n_bytes=4_076_552, sha256=SHA256
    )
    with pytest.raises(
        ConnectionError,
        match=r"toy/f\.jpg \(4,076,552 bytes\) is not in .* downloaded from "
        r"http://127\.0\.0\.1:9/f\.jpg\. Either set STLEARNKIT_DATA to a folder that "
        "holds it under that path, or run this once where there is a network",
    ):
        fetch(remote)
    assert files_in(cache) == []


def test_two_processes_at_once_both_succeed(
    remote: RemoteFile, server: Server, cache: Path
):
    both_ask = threading.Barrier(2, timeout=20)

    def send_when_both_ask(request: Handler) -> None:
        both_ask.wait()
        send_whole(request)

    server.answer = send_when_both_ask
    command = [sys.executable, "-c", FETCH, server.url, SHA256]
    processes = [subprocess.Popen(command) for _ in range(2)]
    assert [process.wait(timeout=30) for process in processes] == [0, 0]
    assert files_in(cache) == ["toy/a/file.bin"]
    assert (cache / remote.key).read_bytes() == CONTENT


def test_killed_download_leaves_no_file_and_the_next_completes(
    remote: RemoteFile, server: Server, cache: Path
):
    killed = threading.Event()

    def send_half_and_hang(request: Handler) -> None:
        request.start()
        request.wfile.write(CONTENT[:-1])
        request.wfile.flush()
        killed.wait(30)

    def parts() -> list[Path]:
        return list(cache.rglob("*.part"))

    server.answer = send_half_and_hang
    process = subprocess.Popen([sys.executable, "-c", FETCH, server.url, SHA256])
    wait_until(lambda: any(part.stat().st_size > 0 for part in parts()))
    process.send_signal(signal.SIGKILL)
    assert process.wait(timeout=10) == -signal.SIGKILL
    killed.set()
    assert not (cache / remote.key).exists()
    (orphan,) = parts()

    server.answer = send_whole
    assert fetch(remote).read_bytes() == CONTENT

    # The part is left alone while it may be another's, and swept when it cannot be.
    assert parts() == [orphan]
    os.utime(orphan, (0, 0))
    (cache / remote.key).unlink()
    fetch(remote)
    assert files_in(cache) == ["toy/a/file.bin"]


def test_data_folder_is_used_first(
    remote: RemoteFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("STLEARNKIT_DATA", str(tmp_path / "data"))
    assert fetch(remote) == tmp_path / "data/toy/a/file.bin"


def test_data_folder_may_be_below_home(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STLEARNKIT_DATA", "~/sections")
    assert data_dir() == Path.home() / "sections"


@pytest.fixture
def read_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A data folder that holds one whole and one damaged file, marked read-only."""
    folder = tmp_path / "data"
    (folder / "toy/a").mkdir(parents=True)
    (folder / "toy/a/file.bin").write_bytes(CONTENT)
    (folder / "toy/a/damaged.bin").write_bytes(b"damaged")
    folders = [folder, folder / "toy", folder / "toy/a"]
    for each in folders:
        each.chmod(0o555)
    monkeypatch.setenv("STLEARNKIT_DATA", str(folder))
    yield folder
    for each in folders:
        each.chmod(0o755)


@pytest.mark.parametrize("path", ["a/missing.bin", "b/missing.bin", "a/damaged.bin"])
def test_read_only_data_folder_is_read_and_left_alone(
    read_only: Path, remote: RemoteFile, server: Server, tmp_path: Path, path: str
):
    held = files_in(read_only)
    assert fetch(remote) == read_only / "toy/a/file.bin"
    assert server.requests == 0
    copy = fetch(RemoteFile("toy", path, server.url, sha256=SHA256))
    assert copy == tmp_path / "cache/stlearnkit/toy" / path
    assert copy.read_bytes() == CONTENT
    assert fetch(RemoteFile("toy", path, server.url, sha256=SHA256)) == copy
    assert server.requests == 1
    assert files_in(read_only) == held


def test_nowhere_to_write_is_an_error(
    read_only: Path, server: Server, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(read_only))
    monkeypatch.setenv("XDG_CACHE_HOME", str(read_only / "cache"))
    remote = RemoteFile("toy", "missing.bin", server.url, sha256=SHA256)
    with pytest.raises(PermissionError, match=r"toy/missing\.bin cannot be stored"):
        fetch(remote)
    assert server.requests == 0


@pytest.mark.parametrize("path", ["../f", "a/../../../f"])
def test_path_may_not_leave_the_folder(path: str):
    with pytest.raises(ValueError, match="leaves the data folder"):
        RemoteFile("toy", path, "http://127.0.0.1:9", sha256=SHA256)


def test_absolute_dataset_is_refused():
    with pytest.raises(ValueError, match="'/toy/f' leaves the data folder"):
        RemoteFile("/toy", "f", "http://127.0.0.1:9", sha256=SHA256)


def test_file_that_cannot_be_verified_is_refused():
    with pytest.raises(ValueError, match="neither sha256 nor git_blob"):
        RemoteFile("toy", "f", "http://127.0.0.1:9")


def test_registry_knows_every_file():
    files = registry()
    assert len(files) == 200
    images = [key for key in files if key.startswith("her2st/data/ST-imgs/")]
    assert len(images) == 36
    assert sum(files[key].sha256 is None for key in images) == 30
    assert {file.dataset for file in files.values()} == {
        "cima",
        "dlpfc",
        "her2st",
        "mob2k",
        "mob_landmarks",
    }
    for key, file in files.items():
        assert file.key == key
        assert file.url.startswith("https://")
        assert file.url.endswith(file.path)
        assert len(file.git_blob or "") == 40
        assert len(file.licence) > 2


def test_registry_cannot_be_changed():
    with pytest.raises(TypeError, match="does not support item assignment"):
        registry()["x"] = None  # type: ignore[index]


@pytest.mark.real_data
def test_every_registered_hash_agrees_with_the_real_file():
    """Both hashes of each real file of up to 1 MB hold."""
    small = [
        file for file in registry().values() if file.n_bytes and file.n_bytes < 10**6
    ]
    assert len(small) > 100
    for file in small:
        copy = REAL_DATA / file.key
        by_git = RemoteFile(file.dataset, file.path, file.url, git_blob=file.git_blob)
        assert file.fault(copy) is None
        assert by_git.fault(copy) is None
