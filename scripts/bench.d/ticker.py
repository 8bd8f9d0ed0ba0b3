"""The ticker on a still picture: steps a second, speed, and jitter against a straight line, read from the X screen."""

from __future__ import annotations

import argparse
import asyncio

import numpy as np
from common import box, item, playlist, still

SPEED_PX_S = 50.0
BAR_PX = 60


async def measure(seconds: float) -> None:
    """Prints steps a second (bar: 60), speed against 50 px/s, and the residue of a straight line (bar: 0.2 px rms)."""
    async with box(start=False) as made:
        made.server.offer([playlist(1, [item(made.add(still(made.folder / "a.png", (0, 0, 90))), duration_s=600)])])
        async with made.agent:
            await made.agent.playing("a.png")
            await made.server.connected(made.agent.serial)
            overlay = {"text": "I", "speed": SPEED_PX_S, "font_size": 40, "background_color": "#000000", "text_color": "#FFFFFF"}
            await made.server.send(made.agent.serial, {"action": "show_text_overlay", "text_overlay": overlay})
            await asyncio.sleep(3)
            with made.screen.sampled(0, made.screen.height - 25, made.screen.width, 1) as samples:
                await asyncio.sleep(seconds)
    times, places = [], []
    for at, row in samples:
        light = np.frombuffer(row, np.uint8).reshape(-1, 4)[:, 0].astype(float)
        if light.sum() > 100:
            times.append(at)
            places.append(float((np.arange(light.size) * light).sum() / light.sum()))
    line = np.polyfit(times, places, 1)
    residue = np.asarray(places) - np.polyval(line, times)
    steps = (len(times) - 1) / (times[-1] - times[0])
    print(
        f"ticker on a still picture: {steps:.1f} steps a second (bar: 60), speed {-line[0]:.2f} px/s (wanted {SPEED_PX_S:g}),"
        f" jitter {residue.std():.3f} px rms (bar: 0.2)"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=15)
    asyncio.run(measure(parser.parse_args().seconds))
