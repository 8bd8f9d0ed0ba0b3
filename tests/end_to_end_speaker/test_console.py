"""The console page's speaker card in headless Chromium, with the real agent: every button, and what comes of it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from tests.browser import Browser, Page
from tests.end_to_end_speaker.lab import DEADLINE_S, DEVICE_ID, STEP_S, Lab, levels_dbfs, open_lab, recording, write_fifo
from tests.servers.voices import tone, write_wav
from tests.sound import PrivateSound

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not Browser.installed(), reason="needs Chromium"),
]

NOTED_RESTART = Path(__file__).parents[1] / "demo" / "noted_restart.py"
MARGIN_S = 0.2
"""Of what is heard, on a machine that does other things, too."""
CARD = f".speaker[data-speaker='{DEVICE_ID}']"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def scene(tmp_path_factory: pytest.TempPathFactory, sound_card: PrivateSound) -> AsyncIterator[tuple[Lab, Page]]:
    """An agent as in the demo, with a microphone, and the page."""
    folder = tmp_path_factory.mktemp("lab")
    os.mkfifo(folder / "button")
    sound_card.set_percent(100)
    reboot = f'["{sys.executable}", "{NOTED_RESTART}", "SERVER"]'
    voice = f'[voice]\nmicrophone = "default"\nbutton = "terminal:{folder / "button"}"'
    async with open_lab(folder, sound=sound_card, tables=voice, reboot=reboot) as lab, Browser() as browser:
        page = await browser.open(f"{lab.server.url}/")
        await lab.connected()
        await page.wait(f"document.querySelector(\"{CARD} .pill\")?.dataset.state === 'connected'")
        await page.wait(f"document.querySelector('{CARD.replace(chr(39), '')} input[name=volume]').value === '100'")
        yield lab, page
        assert page.errors == []


async def test_settings(scene: tuple[Lab, Page]) -> None:
    """Sliders and name reach the device, and come back as what it answers."""
    lab, page = scene
    await page.fill(f"{CARD} input[name=volume]", 60)
    await page.fill(f"{CARD} input[name=brightness]", 70)
    name = "<img src=x onerror=\"document.title='owned'\">"
    await page.fill(f"{CARD} input[name=device_name]", name)
    await page.click(f"{CARD} [data-action=set_device_name]")
    await lab.agent.until(
        lambda status: (status["volume"]["percent"], status["brightness"]["percent"], status["device"]["name"]) == (60, 70, name)
    )
    await page.wait(f"document.querySelector(\"{CARD} h2\").textContent.startsWith('<img')")
    assert await page.evaluate("document.title") == "Mock server"
    await lab.ask("set_volume", volume=100)
    await page.wait(f"document.querySelector(\"{CARD} input[name=volume]\").value === '100'")
    assert await page.evaluate(f"document.querySelector(\"{CARD} .figures\").innerText.includes('100 %')")


async def test_announcements(scene: tuple[Lab, Page], sound_card: PrivateSound, tmp_path: Path) -> None:
    """A sample of the page's, then a WAV file of somebody's own, are heard whole."""
    _, page = scene
    sound_card.play_tone(hertz=6000, dbfs=-50)  # a sink that nobody plays to gives its silence in large pieces
    await page.click(f"{CARD} .announce .chip:nth-child(2)")
    async with recording(sound_card) as record:
        await page.click(f"{CARD} [data-action=announce]")
        await page.wait(f"document.querySelector(\"{CARD} .announce .bar i\").style.width !== '0px'")
        voice = levels_dbfs(await record.heard(440, above_dbfs=-15), 440)
    assert abs(np.count_nonzero(voice > -15) * STEP_S - 2.0) < MARGIN_S

    path = tmp_path / "own.wav"
    await asyncio.to_thread(path.write_bytes, write_wav(tone(880, 0.6)))
    await choose_file(page, f"{CARD} .announce input[type=file]", path)
    await page.wait(f"document.querySelector(\"{CARD} .announce\").innerText.includes('own.wav')")
    async with recording(sound_card) as record:
        await page.click(f"{CARD} [data-action=announce]:not(:disabled)")
        voice = levels_dbfs(await record.heard(880, above_dbfs=-15), 880)
    assert abs(np.count_nonzero(voice > -15) * STEP_S - 0.6) < MARGIN_S
    await choose_file(page, f"{CARD} .announce input[type=file]", NOTED_RESTART)
    await page.click(f"{CARD} [data-action=announce]:not(:disabled)")
    await page.wait("document.querySelector('#toasts').innerText.includes('not a PCM WAV file')")
    page.errors[:] = [error for error in page.errors if "400" not in error]


async def test_restart_is_only_noted(scene: tuple[Lab, Page]) -> None:
    """The agent of the demo runs a command that says so on the page."""
    lab, page = scene
    await page.click(f"{CARD} [data-action=reboot]")
    await page.wait(f"document.querySelector(\"{CARD}\").innerText.includes('Restart asked for and only noted')")
    assert len(lab.server.restarts) == 1


async def test_recordings(scene: tuple[Lab, Page]) -> None:
    """What was spoken can be played on the page."""
    lab, page = scene
    for _ in range(2):
        await asyncio.to_thread(write_fifo, lab.folder / "button", "\n")
        await asyncio.sleep(0.5)
    await page.wait(f'document.querySelector("{CARD} .recording audio")')
    length_s = await page.evaluate(f"""(async () => {{
        const player = document.querySelector("{CARD} .recording audio");
        player.preload = "auto";
        player.load();
        await new Promise((resolve, reject) => {{ player.oncanplay = resolve; player.onerror = () => reject(player.error); }});
        return player.duration;
    }})()""")
    assert abs(length_s - lab.speaker.recordings[0].seconds) < 0.01


async def test_what_no_server_should_do(scene: tuple[Lab, Page]) -> None:
    """Updates, garbage, a broken connection: refused, ignored, come back from."""
    lab, page = scene
    await page.click(f"{CARD} .more summary")
    for form in (1, 2, 3):
        since = lab.speaker.mark()
        await page.click(f"{CARD} [data-action=offer_firmware][data-form='{form}']")
        assert (await lab.speaker.wait_answers(1, since=since))[0]["status"] == "error"
    await page.wait(f"document.querySelector(\"{CARD} .answer\").textContent === 'answer: error'")
    await page.click(f"{CARD} [data-action=set_wifi]")
    await page.wait(f"document.querySelector(\"{CARD} .answer\").textContent === 'answer: not supported'")
    await page.fill(f"{CARD} .more textarea", '{"cmd": "set_volume", "volume": 150}')
    await page.click(f"{CARD} [data-action=send]")
    await page.wait(f"document.querySelector(\"{CARD} .answer\").textContent === 'answer: invalid value'")
    await page.click(f"{CARD} [data-action=garbage]")
    assert (await lab.ask("request_status"))["status"] == "ok"
    connections = lab.speaker.connections
    await page.click(f"{CARD} [data-action=drop]")
    await lab.server.wait_for(lambda: lab.speaker.connections > connections, DEADLINE_S)
    await page.resize(390, 844, mobile=True)
    assert await page.evaluate("document.documentElement.scrollWidth") <= 390


async def choose_file(page: Page, selector: str, path: Path) -> None:
    """Chooses a file in an input, as the dialog would."""
    root: dict[str, Any] = await page.call("DOM.getDocument")
    found = await page.call("DOM.querySelector", nodeId=root["root"]["nodeId"], selector=selector)
    await page.call("DOM.setFileInputFiles", nodeId=found["nodeId"], files=[str(path)])
