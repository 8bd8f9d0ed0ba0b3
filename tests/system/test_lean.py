"""Environment variables that keep libraries small."""

from __future__ import annotations

import contextlib
import os
import ssl
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.system.lean import keep_libraries_lean

PEM = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


@pytest.fixture
def authorities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int, int], Path]:
    """The system's authorities: so many in the bundle, so many by their hash; the bundle."""

    def make(bundled: int, hashed: int) -> Path:
        bundle = tmp_path / "ca-certificates.crt"
        bundle.write_text(PEM * bundled)
        for number in range(hashed):
            (tmp_path / f"{number:08x}.0").write_text(PEM)
        (tmp_path / "some-authority.pem").write_text(PEM)
        monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
        monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
        monkeypatch.setenv("FROZENLIST_NO_EXTENSIONS", "1")
        return bundle

    return make


def test_authorities_are_looked_up_one_by_one(authorities: Callable[[int, int], Path]) -> None:
    """Where the directory has all of the bundle, the bundle is not read."""
    authorities(2, 3)
    environ: dict[str, str] = {}
    keep_libraries_lean(environ)
    assert environ == {"FROZENLIST_NO_EXTENSIONS": "1", "SSL_CERT_FILE": ""}


@pytest.mark.parametrize(("bundled", "hashed"), [(2, 1), (1, 0), (0, 0)])
def test_a_bundle_that_has_more(authorities: Callable[[int, int], Path], bundled: int, hashed: int) -> None:
    """Somebody has added an authority to the bundle alone, or nothing is hashed here: the bundle counts."""
    authorities(bundled, hashed)
    environ: dict[str, str] = {}
    keep_libraries_lean(environ)
    assert "SSL_CERT_FILE" not in environ


@pytest.mark.parametrize("name", ["own.pem", "elsewhere/ca-certificates.crt"])
def test_a_bundle_of_the_operator(
    authorities: Callable[[int, int], Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    """An authority that is named in the environment is trusted as before."""
    authorities(2, 3)
    own = tmp_path / name
    own.parent.mkdir(exist_ok=True)
    own.write_text(PEM)
    monkeypatch.setenv("SSL_CERT_FILE", str(own))
    environ = {"SSL_CERT_FILE": str(own)}
    keep_libraries_lean(environ)
    assert environ["SSL_CERT_FILE"] == str(own)


def test_no_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A box without any authorities is left as it is."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "missing"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "missing too"))
    environ = {"FROZENLIST_NO_EXTENSIONS": "0"}
    keep_libraries_lean(environ)
    assert environ == {"FROZENLIST_NO_EXTENSIONS": "0"}


@pytest.mark.parametrize("hashed", [True, False])
def test_authorities_are_trusted_as_before(authorities: Callable[[int, int], Path], tmp_path: Path, hashed: bool) -> None:
    """A context reads nothing beforehand, and yet a server is believed whose authority the directory has, and no other."""
    bundle = authorities(0, 0)
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=box",
            "-addext", "subjectAltName=DNS:box", "-keyout", key, "-out", certificate)  # fmt: skip
    bundle.write_text(certificate.read_text())
    name = openssl("x509", "-hash", "-noout", "-in", certificate) if hashed else "00000000"
    (tmp_path / f"{name}.0").write_text(certificate.read_text() if hashed else PEM)
    keep_libraries_lean(os.environ)
    assert os.environ["SSL_CERT_FILE"] == ""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    client = ssl.create_default_context()
    assert client.cert_store_stats()["x509"] == 0
    if hashed:
        shake_hands(client, server)
    else:
        with pytest.raises(ssl.SSLCertVerificationError):
            shake_hands(client, server)


def test_what_is_not_loaded() -> None:
    """In a process that was told so, aiohttp comes without libstdc++."""
    code = (
        "import os; from agent.system.lean import keep_libraries_lean; keep_libraries_lean(os.environ)\n"
        "import aiohttp, pathlib; print('libstdc++' in pathlib.Path('/proc/self/maps').read_text())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


def openssl(*words: str | Path) -> str:
    """What the command says."""
    return subprocess.run(["openssl", *map(str, words)], capture_output=True, text=True, check=True).stdout.strip()


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext) -> None:
    """A TLS handshake in memory. Raises what the client thinks of the server."""
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(to_client, to_server, server_hostname="box")
    theirs = server.wrap_bio(to_server, to_client, server_side=True)
    for side in (ours, theirs, ours, theirs):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    assert ours.version() is not None
