"""The coder of the announcements.

ffmpeg's `adpcm_ima_ssi` has the very layout of the speaker contract: high nibble first, no block header, state (0, 0) at the
start that runs on to the end, and the IMA's own arithmetic. It comes in a KVAG file: a header of 14 bytes, then nothing but
nibbles. So both directions must agree with ffmpeg bit for bit.
"""

from __future__ import annotations

import random
import subprocess
import time
from array import array
from pathlib import Path

import pytest

from agent.voice.adpcm import Decoder, Encoder, from_little_endian, little_endian, louder
from tests.voice.conftest import figure

KVAG_HEADER_BYTES = 14
SOURCES = {
    "a tone": "sine=f=440:r=16000:d=1.5",
    "a loud, high tone": "sine=f=7000:r=16000:d=1,volume=30dB",
    "noise at full scale": "anoisesrc=r=16000:d=1.5:a=1:seed=7",
    "a sweep that overshoots": "aevalsrc=1.5*sin(2*PI*t*t*2000):s=16000:d=1.5",
    "steps from end to end": "aevalsrc=if(gte(mod(t\\,0.01)\\,0.005)\\,1\\,-1):s=16000:d=1",
    "silence with clicks": "aevalsrc=if(lt(mod(t\\,0.3)\\,0.001)\\,1\\,0):s=16000:d=1.5",
}


@pytest.fixture(params=list(SOURCES.values()), ids=list(SOURCES), scope="module")
def vector(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[array[int], bytes, array[int]]:
    """Samples, ffmpeg's ADPCM of them, and what ffmpeg makes of that."""
    folder = tmp_path_factory.mktemp("vector")
    source = ["-f", "lavfi", "-i", request.param, "-ac", "1"]
    file = folder / "a.kvag"
    ffmpeg(*source, "-c:a", "adpcm_ima_ssi", "-f", "kvag", str(file))
    ffmpeg(*source, "-f", "s16le", str(folder / "before"))
    ffmpeg("-i", str(file), "-f", "s16le", str(folder / "after"))
    samples, decoded = (from_little_endian((folder / name).read_bytes()) for name in ("before", "after"))
    return samples, file.read_bytes()[KVAG_HEADER_BYTES:], decoded


def ffmpeg(*arguments: str) -> None:
    """Runs it."""
    subprocess.run(["ffmpeg", "-loglevel", "error", "-y", *arguments], check=True, stdin=subprocess.DEVNULL)


def test_decodes_as_ffmpeg(vector: tuple[array[int], bytes, array[int]]) -> None:
    """Every sample is the same."""
    _, data, decoded = vector
    assert Decoder().decode(data)[: len(decoded)] == decoded
    assert len(decoded) >= 16_000


def test_encodes_as_ffmpeg(vector: tuple[array[int], bytes, array[int]]) -> None:
    """Every byte is the same."""
    samples, data, _ = vector
    encoded = Encoder().encode(samples)
    assert len(encoded) >= 8_000
    assert data.startswith(encoded)


def test_state_runs_on_across_frames(vector: tuple[array[int], bytes, array[int]]) -> None:
    """However a session is cut into frames, also of one byte and with a short last one, the samples are the same."""
    samples, data, _ = vector
    whole = Decoder().decode(data)
    cuts = random.Random(3)
    decoder, pieces, place = Decoder(), array("h"), 0
    while place < len(data):
        size = cuts.choice((1, 2, 511, 512))
        pieces += decoder.decode(data[place : place + size])
        place += size
    assert pieces == whole
    encoder, coded, place = Encoder(), b"", 0
    while place < len(samples):
        size = cuts.choice((1, 160, 333))
        coded += encoder.encode(samples[place : place + size])
        place += size
    assert coded == Encoder().encode(samples)


def test_high_nibble_first_from_zero() -> None:
    """The first byte: its high nibble is the first sample, taken from predictor 0 and step 7."""
    assert list(Decoder().decode(b"\x70")) == [11, 13]
    assert list(Decoder().decode(b"\x0f")) == [0, -11]
    assert list(Decoder().decode(b"")) == []


def test_an_odd_last_sample_has_a_byte_of_its_own() -> None:
    """`finish` gives it, once."""
    encoder = Encoder()
    assert encoder.encode(array("h", [11, 13, 500])) == b"\x70"
    assert len(encoder.finish()) == 1
    assert encoder.finish() == b""


def test_what_a_device_takes() -> None:
    """Little endian, and quieter by a factor."""
    samples = array("h", [1, -2, 32767, -32768])
    assert little_endian(samples) == b"\x01\x00\xfe\xff\xff\x7f\x00\x80"
    assert from_little_endian(little_endian(samples) + b"\x01") == samples
    assert louder(samples, 1.0) is samples
    assert list(louder(samples, 0.5)) == [0, -1, 16383, -16384]
    assert list(louder(samples, 0.0)) == [0, 0, 0, 0]


def test_cost_of_real_time() -> None:
    """Decoding an announcement takes less than 3 % of a core."""
    data = random.Random(1).randbytes(512)
    decoder, started = Decoder(), time.process_time()
    for _ in range(160):
        little_endian(decoder.decode(data))
    share = (time.process_time() - started) / (160 * 0.064)
    figure(f"decoding in real time {share:.2%} of a core")
    assert share < 0.03


def test_ffmpeg_reads_what_is_encoded(tmp_path: Path) -> None:
    """An uplink recording is a KVAG file but for its header."""
    samples = array("h", (round(8000 * ((i % 40) / 20 - 1)) for i in range(3200)))
    data = Encoder().encode(samples)
    header = b"KVAG" + len(data).to_bytes(4, "little") + (16_000).to_bytes(4, "little") + b"\0\0"
    (tmp_path / "talk.kvag").write_bytes(header + data)
    ffmpeg("-i", str(tmp_path / "talk.kvag"), "-f", "s16le", str(tmp_path / "talk.raw"))
    assert from_little_endian((tmp_path / "talk.raw").read_bytes()) == Decoder().decode(data)
