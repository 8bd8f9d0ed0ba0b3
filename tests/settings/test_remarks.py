"""What `check` says about a configuration that is right."""

from __future__ import annotations

from pathlib import Path

from agent.settings.remarks import remarks
from tests.settings.conftest import SIGNAGE, Load


def test_remarks(load: Load, tmp_path: Path) -> None:
    """Files that are not there, settings without effect, secrets without a link."""
    (tmp_path / "main.password").write_text("x")
    (tmp_path / "secrets_gone.token").write_text("x")
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    (tmp_path / "agent.toml").unlink(missing_ok=True)
    settings = load(
        "[screens.front]\nidle_image = '/none.png'\noutput = 'null'\nwindow = '640x480'\nsound = false\n"
        + SIGNAGE.replace('password = "hush"', "ca_file = '/none.pem'"),
        environ,
    )
    assert list(remarks(settings, environ)) == [
        "links.main.ca_file: there is no file /none.pem",
        "screens.front.idle_image: there is no file /none.png",
        "screens.front.window: has no effect with output 'null'",
        "no screen has sound = true: videos are silent",
        "credential agent.toml: belongs to no link",
        "credential secrets_gone.token: belongs to no link",
    ]


def test_updates_that_nobody_looks_for(load: Load) -> None:
    """The installer has one place to look; said where updates are configured, and only there."""
    update = "[update]\nsource_url = 'https://updates.example/'\n"
    elsewhere = "[device]\nstate_dir = '/data/signage'\n"
    said = "updates are looked for in /var/lib/signage-agent, and [device] state_dir is /data/signage"
    assert list(remarks(load(update + elsewhere + SIGNAGE), {})) == [f"device.state_dir: [update] has no effect: {said}"]
    assert list(remarks(load(elsewhere + SIGNAGE), {})) == list(remarks(load(update + SIGNAGE), {})) == []


def test_nothing_to_remark(load: Load) -> None:
    """A plain configuration gives no remark; one without links gives one."""
    assert list(remarks(load(SIGNAGE), {})) == []
    assert list(remarks(load(), {})) == ["no [[links]]: the box has no server to listen to"]
