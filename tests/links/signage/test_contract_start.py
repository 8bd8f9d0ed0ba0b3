from __future__ import annotations
from tests.box import Box
from tests.links.signage.conftest import MakeFile
from tests.servers import SignageServer, item, playlist

async def test_smoke(server: SignageServer, box: Box, file: MakeFile) -> None:
    server.offer([playlist(101, [item(file("a.png")), item(file("b.mp4"))])])
    async with box:
        await box.says("ready", 101)
        await box.ready(101)
        await box.shows("a.png")
        await box.command("next")
        await box.shows("b.mp4")
        box.screen.end_video()
        await box.shows("a.png")
        print(box.served.said)
        await box.command("set_volume", volume=30)
        await box.command("set_brightness", brightness=30)
    print(box.volumes, box.dims)
