"""Pictures of the screen as a viewer sees it."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from agent.screen.messages import Screenshot, Ticker
from tests.display import near
from tests.screen.conftest import RED, Media, Stand


async def test_screenshot_has_everything_and_stands_upright(stand: Stand, media: Media, tmp_path: Path) -> None:
    """JPEG and PNG, with the ticker, as a viewer sees it; of an idle screen, too."""
    for rotate, size in (("0", (1280, 720)), ("90", (720, 1280))):
        worker = await stand.worker("--rotate", rotate)
        path = tmp_path / f"idle{rotate}.png"
        worker.put(background="#204060")
        assert (await worker.ask(Screenshot(str(path)))).error == ""
        with Image.open(path) as picture:
            assert near(picture.convert("RGB").getpixel((5, 5)), (0x20, 0x40, 0x60))  # type: ignore[arg-type]
        bar = Ticker(" ", motion="static", font_size_px=40, background="#FF008000")
        await worker.show(worker.shot(media.red_png), ticker=bar)
        await stand.server.shows((640, 715) if rotate == "0" else (5, 360), (0, 0x80, 0))
        for ending in ("jpg", "png"):
            path = tmp_path / f"shot{rotate}.{ending}"
            assert (await worker.ask(Screenshot(str(path)))).error == ""
            with Image.open(path) as picture:
                assert picture.size == size
                assert near(picture.convert("RGB").getpixel((size[0] // 2, size[1] // 2)), RED)  # type: ignore[arg-type]
                assert near(picture.convert("RGB").getpixel((5, size[1] - 5)), (0, 0x80, 0))  # type: ignore[arg-type]
        await worker.close()


async def test_screenshot_that_cannot_be_written(stand: Stand, tmp_path: Path) -> None:
    """Answered with the reason."""
    worker = await stand.worker()
    assert (await worker.ask(Screenshot(str(tmp_path / "no/such/place.png")))).error
    assert "JPEG" in (await worker.ask(Screenshot(str(tmp_path / "picture.bmp")))).error
