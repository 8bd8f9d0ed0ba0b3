"""The media store's download of 1 GiB against `curl | tee | md5sum`, over loopback, in turns.

Prints `download vs curl|tee|md5sum: ratio=0.93 (ours 2.1 s, peer 2.25 s)`; below 1 the store is faster. Its time is that of
`fetch`: aiohttp is loaded, the file is written, hashed, synced and recorded; the peer does not sync. A second line gives the
store's memory. The file is served by sendfile from another process.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MIB = 1024 * 1024


def main() -> None:
    """Parses the command line and runs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mebibytes", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--directory", type=Path, help="where to put the files; default: a new temporary directory")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--fetch", nargs=2, metavar=("URL", "MD5"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
    elif options.fetch:
        sys.path.insert(0, str(ROOT))
        print(json.dumps(asyncio.run(fetch(options.directory, *options.fetch))))
    else:
        for line in measure(options.mebibytes, options.rounds, options.directory):
            print(line)


def measure(mebibytes: int = 1024, rounds: int = 3, directory: Path | None = None) -> Iterator[str]:
    """Runs both in turns; yields the result lines. Needs twice the size on the disk, and curl, tee and md5sum."""
    with tempfile.TemporaryDirectory(dir=directory, prefix="bench-download-") as name:
        place = Path(name)
        source = place / "source"
        digest = make_source(source, mebibytes)
        with serving(source) as url:
            ours, peer, memory = [], [], []
            for _ in range(rounds):
                peer.append(run_peer(place, url, digest))
                result = run_ours(place, url, digest)
                ours.append(result["seconds"])
                memory.append(result)
    mine, other = statistics.median(ours), statistics.median(peer)
    yield f"download vs curl|tee|md5sum: ratio={mine / other:.2f} (ours {mine:.2f} s, peer {other:.2f} s)"
    growth = max(result["peak_kib"] - result["loaded_kib"] for result in memory) / 1024
    peak = max(result["peak_kib"] for result in memory) / 1024
    yield f"download memory: peak={peak:.0f} MiB, of it during {mebibytes} MiB of download +{growth:.1f} MiB"


def make_source(path: Path, mebibytes: int) -> str:
    """Random bytes; their MD5."""
    hasher = hashlib.md5(usedforsecurity=False)
    with path.open("wb") as file:
        for _ in range(mebibytes):
            block = os.urandom(MIB)
            hasher.update(block)
            file.write(block)
    return hasher.hexdigest()


@contextlib.contextmanager
def serving(source: Path) -> Iterator[str]:
    """A server process; its address."""
    command = [sys.executable, __file__, "--serve", str(source)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        if server.stdout is None:
            raise RuntimeError("server without output")
        try:
            yield f"http://127.0.0.1:{int(server.stdout.readline())}/file"
        finally:
            server.kill()


def serve(source: Path) -> None:
    """Answers every request with the file, until killed."""
    size = source.stat().st_size
    with socket.create_server(("127.0.0.1", 0)) as listener, source.open("rb") as file:
        print(listener.getsockname()[1], flush=True)
        while True:
            connection, _ = listener.accept()
            with connection:
                request = b""
                while b"\r\n\r\n" not in request and (data := connection.recv(65536)):
                    request += data
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n" % size)
                with contextlib.suppress(ConnectionError):
                    connection.sendfile(file)
                file.seek(0)


def run_peer(place: Path, url: str, digest: str) -> float:
    """Seconds of `curl | tee | md5sum`."""
    copy = place / "peer"
    began = time.perf_counter()
    curl = subprocess.Popen(["curl", "-sS", url], stdout=subprocess.PIPE)
    tee = subprocess.Popen(["tee", str(copy)], stdin=curl.stdout, stdout=subprocess.PIPE)
    answer = subprocess.run(["md5sum"], stdin=tee.stdout, stdout=subprocess.PIPE, text=True, check=True).stdout
    seconds = time.perf_counter() - began
    curl.wait()
    tee.wait()
    if answer.split()[0] != digest:
        raise RuntimeError(f"md5sum says {answer}")
    copy.unlink()
    os.sync()
    return seconds


def run_ours(place: Path, url: str, digest: str) -> dict[str, float]:
    """What `fetch` measured in a process of its own."""
    store = place / "store"
    command = [sys.executable, __file__, "--directory", str(store), "--fetch", url, digest]
    answer = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    shutil.rmtree(store)
    os.sync()
    result: dict[str, float] = json.loads(answer)
    return result


async def fetch(directory: Path, url: str, digest: str) -> dict[str, float]:
    """Downloads with the store; seconds, and the process's memory a little after the beginning and at its peak."""
    from agent.media import MediaStore, Want  # noqa: PLC0415 - the other roles of this file do not need it
    from agent.system.state import State  # noqa: PLC0415

    state = await State.open(directory / "state.db")
    store = MediaStore(directory / "media", state, quota_bytes=1 << 40, reserve_bytes=0, parallel=3)
    await store.start()
    loaded = 0.0

    def note(received: int, _total: int | None) -> None:
        nonlocal loaded
        if not loaded and received > 32 * MIB:
            loaded = peak_kib()

    began = time.perf_counter()
    await store.fetch(Want(url, "bench", None, digest), on_bytes=note)
    seconds = time.perf_counter() - began
    await store.close()
    await state.close()
    return {"seconds": seconds, "loaded_kib": loaded, "peak_kib": peak_kib()}


def peak_kib() -> float:
    """The largest resident size of this process so far."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return float(line.split()[1])


if __name__ == "__main__":
    main()
