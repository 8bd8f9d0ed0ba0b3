"""How the server's screens, playlists and items are read, however malformed (signage contract, sections 2 and 6)."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from agent.links.signage.playlists import Media, PlaylistReader, ServerPlaylist, SidePlaylists
from tests.servers.playlists import OMIT, item, playlist, screen, without_omitted

ROOT = "http://host:8080"


@pytest.fixture
def reader() -> PlaylistReader:
    return PlaylistReader(ROOT, 10.0)


def front(reader: PlaylistReader, *playlists: Any, **fields: Any) -> SidePlaylists:
    return reader.screens({"sn_number": "x", "front_screen": screen(playlists, **fields)}, ["front"])["front"]


def only(reader: PlaylistReader, *items: Any, **fields: Any) -> ServerPlaylist:
    [read] = front(reader, playlist(1, items, **fields)).playlists
    return read


def one(reader: PlaylistReader, listed: dict[str, Any] | None = None, **fields: Any) -> Media:
    [media] = only(reader, without_omitted({**item(), **fields}), **(listed or {})).media
    return media


# Screens


def test_the_four_sides(reader: PlaylistReader) -> None:
    """Each side is null, missing, or has playlists; only those asked for are read."""
    body = {
        "sn_number": "x",
        "front_screen": screen([playlist(1, [])]),
        "back_screen": None,
        "left_screen": screen([playlist(3, [])]),
    }
    read = reader.screens(body, ["front", "back", "right"])
    assert {side: [p.playlist_id for p in found.playlists] for side, found in read.items()} == {
        "front": [1],
        "back": [],
        "right": [],
    }


def test_an_answer_inside_data(reader: PlaylistReader) -> None:
    """Some servers wrap it."""
    assert reader.screens({"data": {"front_screen": screen([playlist(1, [])])}}, ["front"])["front"].playlists


@pytest.mark.parametrize("body", [None, [], "x", 5, {}, {"message": "ok"}, {"data": []}])
def test_what_is_no_device(reader: PlaylistReader, body: Any) -> None:
    """An answer without any screen is none: it must not empty the box."""
    with pytest.raises(ValueError, match="not a device's screens"):
        reader.screens(body, ["front"])


@pytest.mark.parametrize("body", [[], "x", 5, True])
def test_a_malformed_screen(reader: PlaylistReader, caplog: pytest.LogCaptureFixture, body: Any) -> None:
    """It is named and has no playlists; the other side is read."""
    read = reader.screens({"front_screen": body, "back_screen": screen([playlist(2, [])])}, ["front", "back"])
    assert (len(read["front"].playlists), len(read["back"].playlists)) == (0, 1)
    assert "screen front is malformed" in caplog.text


@pytest.mark.parametrize(
    ("said", "current"),
    [
        (7, 7),
        ("7", 7),
        ({"id": 7, "name": "x"}, 7),
        ({"id": "7"}, 7),
        (None, None),
        ({}, None),
        ([], None),
        (True, None),
        ("spring", "spring"),
    ],
)
def test_the_current_playlist(reader: PlaylistReader, said: Any, current: Any) -> None:
    """An id or an object with one."""
    assert front(reader, playlist(7, []), current=said).current == current


@pytest.mark.parametrize("playlists", [None, {}, "x", 5])
def test_playlists_that_are_no_list(reader: PlaylistReader, playlists: Any) -> None:
    """Then there are none."""
    read = reader.screens({"front_screen": {"playlists": playlists}}, ["front"])
    assert read["front"].playlists == ()


# Playlists


@pytest.mark.parametrize(
    "broken",
    [
        None,
        [],
        "x",
        5,
        {},
        {"id": 2},
        {"media_items": []},
        {"id": None, "media_items": []},
        {"id": True, "media_items": []},
        {"id": [], "media_items": []},
        {"id": 2, "media_items": None},
        {"id": 2, "media_items": {}},
        {"id": 2, "media_items": "x"},
    ],
)
def test_a_malformed_playlist_spoils_no_other(reader: PlaylistReader, caplog: pytest.LogCaptureFixture, broken: Any) -> None:
    """It is skipped and named, once as a warning."""
    for _ in range(3):
        read = front(reader, playlist(1, [item()]), broken, playlist(3, [item()]))
        assert [p.playlist_id for p in read.playlists] == [1, 3]
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [record.getMessage().startswith("playlist is malformed and skipped") for record in warnings] == [True]


def test_an_indispensable_playlist(reader: PlaylistReader) -> None:
    """Only `id` and `media_items` must be there; the rest has defaults."""
    [read] = front(reader, {"id": "7", "media_items": [{"media_id": "9", "media_url": "x.png"}]}).playlists
    assert (read.playlist_id, read.name, read.passes, read.background, read.canvas) == (7, "", None, "#000000", None)
    [media] = read.media
    assert (media.item.media_id, media.url, media.file_name, media.item.title) == (9, f"{ROOT}/x.png", "x.png", "x.png")
    assert (media.size_bytes, media.checksum, media.item.kind) == (None, "", "image")
    assert (media.item.duration_s, media.item.times, media.item.rect, media.item.enter) == (10.0, 1, None, "cut")


@pytest.mark.parametrize("wrong", [None, [], {}, "nonsense", [1]])
def test_wrongly_typed_fields_have_defaults(reader: PlaylistReader, wrong: Any) -> None:
    """Every other field may be anything."""
    entry = dict.fromkeys(
        ["order", "media_name", "media_type", "mimetype", "file_size", "checksum", "layout", "timing", "effects", "n_time_play"],
        wrong,
    )
    fields = dict.fromkeys(["name", "width", "height", "duration", "playback_config", "status"], wrong)
    [read] = front(reader, {"id": 1, "media_items": [{**entry, "media_id": 9, "media_url": "/x.png"}], **fields}).playlists
    [media] = read.media
    assert (read.passes, read.background, read.canvas, read.malformed) == (None, "#000000", None, ())
    assert (media.item.duration_s, media.item.times, media.item.rect, media.size_bytes, media.checksum) == (
        10.0,
        1,
        None,
        None,
        "",
    )


@pytest.mark.parametrize("wrong", [None, [], {}, "nonsense"])
def test_wrongly_typed_inner_fields_have_defaults(reader: PlaylistReader, wrong: Any) -> None:
    """Inside layout, timing, effects and playback_config, too."""
    media = one(
        reader,
        {"playback_config": dict.fromkeys(["repeat", "repeat_count", "background_color"], wrong)},
        layout=OMIT,
        timing=dict.fromkeys(["start_time", "duration", "loop"], wrong),
        effects=dict.fromkeys(["fade_in", "fade_out", "transition", "fade_duration"], wrong),
    )
    assert (media.item.duration_s, media.item.fade_in_s, media.item.fade_out_s, media.item.enter) == (10.0, 0.0, 0.0, "cut")


def test_one_wrong_field_leaves_the_others(reader: PlaylistReader) -> None:
    """A default stands in for the wrong field only."""
    assert one(reader, timing={"duration": "7.5", "loop": "x"}).item.duration_s == 7.5
    read = only(reader, item(), playback_config={"repeat": False, "repeat_count": "x", "background_color": "#123"})
    assert (read.passes, read.background) == (1, "#112233")


def test_the_same_id_twice(reader: PlaylistReader) -> None:
    """The first one counts, the order stays."""
    read = front(reader, playlist(1, [item()]), playlist(2, []), playlist("1", []))  # type: ignore[arg-type]
    assert [(p.playlist_id, p.total_items) for p in read.playlists] == [(1, 1), (2, 0)]


def test_what_the_server_says_about_local_state_is_not_believed(reader: PlaylistReader) -> None:
    """`downloaded`, `local_path` and `status` change nothing."""
    listed = playlist(1, [item(media_id=5, downloaded=True, local_path="/etc/passwd")])
    listed["status"] = {"is_ready": True, "all_downloaded": True}
    [read] = front(reader, listed).playlists
    assert read.with_files(lambda _media: "").items[0].path == ""
    assert "passwd" not in repr(read)


@pytest.mark.parametrize(
    ("config", "passes"),
    [
        ({"repeat": True, "repeat_count": -1}, None),
        ({"repeat": True, "repeat_count": 0}, None),
        ({"repeat": True, "repeat_count": 1}, None),
        ({"repeat": True, "repeat_count": 2}, 2),
        ({"repeat": True, "repeat_count": "3"}, 3),
        ({"repeat": True, "repeat_count": 1e400}, None),
        ({"repeat": False, "repeat_count": 5}, 1),
        ({"repeat": False}, 1),
        ({"repeat": "false"}, 1),
        ({"repeat": 0}, 1),
        ({"repeat": None}, None),
        ({}, None),
    ],
)
def test_passes(reader: PlaylistReader, config: dict[str, Any], passes: int | None) -> None:
    """No repetition: one pass; else endless for a count up to 1, else that many."""
    assert only(reader, item(), playback_config=config).passes == passes


@pytest.mark.parametrize(
    ("said", "background"),
    [("#102030", "#102030"), ("abc", "#AABBCC"), ("#80102030", "#102030"), ("red", "#000000"), (None, "#000000"), (5, "#000000")],
)
def test_background_colour(reader: PlaylistReader, said: Any, background: str) -> None:
    """The same forms as elsewhere; there is nothing behind it to shine through."""
    assert only(reader, item(), background_color=said).background == background


@pytest.mark.parametrize(
    ("width", "height", "canvas"),
    [
        (1280, 720, (1280, 720)),
        ("1280", "720", (1280, 720)),
        (0, 0, None),
        (-1, 720, None),
        (1280, None, None),
        (1e9, 720, None),
        ("nan", 1, None),
    ],
)
def test_canvas(reader: PlaylistReader, width: Any, height: Any, canvas: tuple[int, int] | None) -> None:
    """The playlist's size if it makes sense, else the screen's."""
    assert only(reader, item(), width=width, height=height).canvas == canvas


# Items


@pytest.mark.parametrize(
    ("broken", "name"),
    [
        (None, "item 2"),
        ([], "item 2"),
        ("x", "item 2"),
        (5, "item 2"),
        ({}, "item 2"),
        ({"media_id": 5}, "item 2"),
        ({"media_id": 5, "media_name": "clip.mp4"}, "clip.mp4"),
        ({"media_id": 5, "media_url": None, "media_name": "clip.mp4"}, "clip.mp4"),
        ({"media_id": 5, "media_url": "", "media_name": "clip.mp4"}, "clip.mp4"),
        ({"media_id": 5, "media_url": 5, "media_name": "clip.mp4"}, "clip.mp4"),
        ({"media_id": 5, "media_url": "   ", "media_name": "clip.mp4"}, "clip.mp4"),
        ({"media_url": "/media/clip%201.mp4"}, "clip 1.mp4"),
        ({"media_id": None, "media_url": "/media/clip.mp4"}, "clip.mp4"),
        ({"media_id": True, "media_url": "/media/clip.mp4"}, "clip.mp4"),
        ({"media_id": [], "media_url": "/media/clip.mp4"}, "clip.mp4"),
        ({"media_id": 5, "media_url": "file:///etc/passwd", "media_name": "x"}, "x"),
        ({"media_id": 5, "media_url": "javascript:alert(1)", "media_name": "x"}, "x"),
        ({"media_id": 5, "media_url": "http://[half/clip.mp4", "media_name": "x"}, "x"),
        ({"media_id": 5, "media_url": "https:///clip.mp4", "media_name": "x"}, "x"),
        ({"media_id": 5, "media_url": "http://[half/clip.mp4"}, "item 2"),
    ],
)
def test_a_malformed_item_spoils_no_other(
    reader: PlaylistReader, caplog: pytest.LogCaptureFixture, broken: Any, name: str
) -> None:
    """It is skipped, named in the log, counted, and known by a name for `missing_files`."""
    for _ in range(3):
        [read] = front(reader, playlist(1, [item(media_id=1), broken, item(media_id=3)])).playlists
        assert [media.item.media_id for media in read.media] == [1, 3]
        assert (read.total_items, read.malformed) == (3, (name,))
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert f"item is malformed and skipped playlist=1 item={name!r}" in warnings[0]


def test_a_flood_of_ever_new_faults_is_not_a_flood_of_warnings(reader: PlaylistReader, caplog: pytest.LogCaptureFixture) -> None:
    """Beyond a thousand different findings the log is spared."""
    for start in (0, 2000):
        front(reader, playlist(1, [{"media_name": f"bad {number}"} for number in range(start, start + 2000)]))
    assert sum(record.levelno == logging.WARNING for record in caplog.records) <= 1001


@pytest.mark.parametrize(
    ("orders", "expected"),
    [
        ([3, 1, 2], [2, 3, 1]),
        ([1, 1, 0], [3, 1, 2]),
        (["2", "1", 3], [2, 1, 3]),
        ([None, 2, 1], [3, 2, 1]),
        (["x", 2, 1], [3, 2, 1]),
        (["nan", 2, 1], [3, 2, 1]),
        ([2, "nan", 1], [3, 1, 2]),
        ([-1, -2, 0], [2, 1, 3]),
        ([0.5, 0.25, 1e400], [2, 1, 3]),
    ],
)
def test_order(reader: PlaylistReader, orders: list[Any], expected: list[int]) -> None:
    """By `order`, ties as listed, those without one last."""
    read = only(reader, *(item(media_id=number, order=order) for number, order in enumerate(orders, start=1)))
    assert [media.item.media_id for media in read.media] == expected


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("/media/a.png", f"{ROOT}/media/a.png"),
        ("media/a.png", f"{ROOT}/media/a.png"),
        ("a.png", f"{ROOT}/a.png"),
        ("/media/a.png?x=1&y=%20", f"{ROOT}/media/a.png?x=1&y=%20"),
        (" /media/a.png ", f"{ROOT}/media/a.png"),
        ("http://other/a.png", "http://other/a.png"),
        ("https://other:444/a.png", "https://other:444/a.png"),
        ("//other/a.png", "http://other/a.png"),
        ("HTTP://OTHER/a.png", "http://OTHER/a.png"),
    ],
)
def test_media_addresses(reader: PlaylistReader, url: str, address: str) -> None:
    """Relative ones resolve against the host root, not /api/v1; absolute ones are used as given."""
    assert one(reader, media_url=url).url.replace("HTTP:", "http:") == address


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (5 * 2**31, 5 * 2**31),
        ("3221225472", 3 * 2**30),
        (0, None),
        (-1, None),
        (None, None),
        ("big", None),
        (1e400, None),
        ("nan", None),
        (2**70, None),
        (1000.0, 1000),
    ],
)
def test_file_sizes(reader: PlaylistReader, size: Any, expected: int | None) -> None:
    """More than 2 GiB is fine; what makes no sense is unknown."""
    assert one(reader, file_size=size).size_bytes == expected


@pytest.mark.parametrize(
    ("said", "kept"),
    [("AB" * 16, "ab" * 16), ("Ab" * 32, "ab" * 32), (f" {'0' * 32}\n", "0" * 32), ("", ""), (None, ""), (5, "")],
)
def test_checksums(reader: PlaylistReader, caplog: pytest.LogCaptureFixture, said: Any, kept: str) -> None:
    """MD5 or SHA-256 in any case, or none."""
    assert one(reader, checksum=said).checksum == kept
    assert "checksum" not in caplog.text


@pytest.mark.parametrize("said", ["xyz", "0" * 31, "0" * 40, "g" * 32, "0" * 65])
def test_checksums_of_no_known_kind(reader: PlaylistReader, caplog: pytest.LogCaptureFixture, said: str) -> None:
    """Ignored, and said so."""
    assert one(reader, checksum=said).checksum == ""
    assert "checksum is neither MD5 nor SHA-256" in caplog.text


@pytest.mark.parametrize(
    ("media_type", "mimetype", "url", "kind"),
    [
        ("image", "", "/a.mp4", "image"),
        ("VIDEO", "", "/a.png", "video"),
        ("", "image/webp", "/a", "image"),
        (None, "Video/mp4", "/a.png", "video"),
        ("other", "application/octet-stream", "/a.JPEG?x=.mp4", "image"),
        ("", "", "/a.webm", "video"),
        ("", "", "/a", "video"),
    ],
)
def test_kinds(reader: PlaylistReader, media_type: Any, mimetype: str, url: str, kind: str) -> None:
    """By type, MIME type, or the ending of the address."""
    assert one(reader, media_type=media_type, mimetype=mimetype, media_url=url).item.kind == kind


@pytest.mark.parametrize(
    ("said", "seconds"), [(5, 5), (0.5, 0.5), ("7", 7), (0, 10), (-3, 10), (None, 10), ("nan", 10), (1e400, 10)]
)
def test_image_durations(reader: PlaylistReader, said: Any, seconds: float) -> None:
    """0 or missing: the configured default."""
    assert one(reader, timing={"duration": said}).item.duration_s == seconds


@pytest.mark.parametrize(
    ("said", "times"), [(3, 3), ("2", 2), (0, 1), (-1, 1), (None, 1), (1e400, 1), ("nan", 1), (20_000, 20_000)]
)
def test_times(reader: PlaylistReader, said: Any, times: int) -> None:
    """`n_time_play` times; 0, missing, negative: once."""
    assert one(reader, n_time_play=said).item.times == times


@pytest.mark.parametrize(
    ("layout", "rect"),
    [
        ((0, 0, 0, 0), None),
        ((0, 0, 1280, 720), None),
        ((640, 0, 640, 360), (0.5, 0.0, 0.5, 0.5)),
        ((0, 360, 1280, 360), (0.0, 0.5, 1.0, 0.5)),
        ((-640, 0, 1280, 720), (0.0, 0.0, 0.5, 1.0)),
        ((1280, 0, 100, 100), None),
        ((0, 0, -5, 100), None),
        ((0, 0, 1e400, 100), None),
    ],
)
def test_layout(reader: PlaylistReader, layout: tuple[float, ...], rect: tuple[float, ...] | None) -> None:
    """Where the item stands on the canvas; all zero or off the canvas: the whole screen. What sticks out is cut."""
    found = one(reader, layout=dict(zip(("x", "y", "width", "height"), layout, strict=True))).item.rect
    if layout[2] != 1e400:
        assert found == rect
    assert found is None or all(0 <= edge <= 1 for edge in found)


@pytest.mark.parametrize(
    ("effects", "expected"),
    [
        ({"fade_in": 0.5, "fade_out": 1, "transition": "none"}, ("cut", 0.5, 1.0)),
        ({"fade_in": 500, "fade_out": 250}, ("cut", 0.5, 0.25)),
        ({"fade_in": True, "fade_out": False}, ("cut", 0.5, 0.0)),
        ({"transition": "fade", "fade_duration": 800}, ("fade", 0.8, 0.8)),
        ({"transition": "fade"}, ("fade", 0.5, 0.5)),
        ({"transition": "FADE", "fade_in": 0.2}, ("fade", 0.2, 0.0)),
        ({"transition": "slide", "fade_duration": 800}, ("slide", 0.0, 0.0)),
        ({"transition": "explode"}, ("cut", 0.0, 0.0)),
        ({"fade_in": -1, "fade_out": "x"}, ("cut", 0.0, 0.0)),
        ({"fade_in": "nan", "fade_out": 1e400}, ("cut", 0.0, 0.0)),
    ],
)
def test_effects(reader: PlaylistReader, effects: dict[str, Any], expected: tuple[str, float, float]) -> None:
    """Fades in seconds, milliseconds or just true; unknown transitions cut."""
    found = one(reader, timing={"duration": 30}, effects=effects).item
    assert (found.enter, found.fade_in_s, found.fade_out_s) == expected


def test_fades_fit_into_a_short_image(reader: PlaylistReader) -> None:
    """In and out take at most half of it each."""
    found = one(reader, timing={"duration": 1}, effects={"fade_in": 5, "fade_out": 5}).item
    assert (found.fade_in_s, found.fade_out_s) == (0.5, 0.5)


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b\\c", "x" * 5000, "a\nb", "a\ud800b", "  "])
def test_names_are_for_people_only(reader: PlaylistReader, name: str) -> None:
    """A path-like, endless or unencodable name is shown and reported, bounded, and never used as a path."""
    media = one(reader, media_name=name)
    media.file_name.encode()
    media.item.title.encode()
    assert 0 < len(media.file_name) <= 300


def test_a_thousand_items(reader: PlaylistReader) -> None:
    """They are all there, in order."""
    read = only(reader, *(item(media_id=number) for number in range(1000)))
    assert [media.item.media_id for media in read.media] == list(range(1000))


def test_a_playlist_beyond_all_measure(reader: PlaylistReader, caplog: pytest.LogCaptureFixture) -> None:
    """Ten thousand items are used and kept, the rest is cut and that is said, once."""
    entries = [{"media_id": number, "media_url": f"/{number}.png"} for number in range(10_003)]
    for _ in range(2):
        side = reader.side([{"id": 1, "media_items": entries}])
        assert (side.playlists[0].total_items, len(side.bodies[0]["media_items"])) == (10_000, 10_000)
    assert next(message for message in caplog.messages if "too long" in message).endswith("items=10003 used=10000")
    assert sum("too long" in r.getMessage() and r.levelname == "WARNING" for r in caplog.records) == 1


@pytest.mark.parametrize("value", ["x" * 900_000, ["x" * 1000] * 300, 10**4000, {"a": "x" * 10_000}])
def test_ids_of_any_size(reader: PlaylistReader, caplog: pytest.LogCaptureFixture, value: object) -> None:
    """None beyond 200 characters is an id, and no line of the log is as long."""
    side = reader.side([{"id": value, "media_items": []}, {"id": 1, "media_items": [{"media_id": value, "media_url": "/a.png"}]}])
    assert [playlist.total_items for playlist in side.playlists] == [1]
    assert side.playlists[0].media == ()
    assert caplog.messages
    assert all(len(message) < 1_000 for message in caplog.messages)
