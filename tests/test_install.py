"""The installer in a root directory of its own, and the files systemd reads, looked at by systemd's own tools."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from agent.update.slots import Candidate, Record, Slots

CHECKOUT = Path(__file__).resolve().parent.parent
SYSTEMD = CHECKOUT / "systemd"
VERSION = re.search(r'"(.*)"', (CHECKOUT / "agent/__init__.py").read_text().split("__version__", 1)[1]).group(1)  # type: ignore[union-attr]
COMMAND_LINE = "console=serial0,115200 root=PARTUUID=1234-02 rootwait quiet cfg80211.ieee80211_regdom=DE"


def _install(root: Path, *options: str, password: str = "") -> str:
    """Runs scripts/install on `root`; what it says."""
    result = subprocess.run(
        [CHECKOUT / "scripts/install", "--root", root, *options], input=password, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def _tree(root: Path) -> dict[str, tuple[int, float, str]]:
    """Every path below `root` with its mode, its time and, of a link, where it leads."""
    tree = {}
    for path in root.rglob("*"):
        status = path.lstat()
        tree[str(path.relative_to(root))] = (status.st_mode, status.st_mtime, str(path.readlink()) if path.is_symlink() else "")
    return tree


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root directory with the boot partition of a Raspberry Pi and nothing else."""
    boot = tmp_path / "root/boot/firmware"
    boot.mkdir(parents=True)
    (boot / "cmdline.txt").write_text(COMMAND_LINE + "\n")
    return tmp_path / "root"


@pytest.mark.timeout(240)
def test_install_twice_then_uninstall(root: Path) -> None:
    """A real release that runs; the second time changes nothing; a cut build is made anew; afterwards nothing is left."""
    before = _tree(root)
    release = root / "opt/signage-agent/releases" / VERSION
    (release / "bin").mkdir(parents=True)  # cut off while it was built: no marker
    (release / "bin/python").write_text("half a file")
    (root / "opt/signage-agent/current").symlink_to("releases/0.0.1")

    assert f"version {VERSION} is installed" in _install(root)
    assert (release / ".complete").read_text().strip()
    assert (root / "opt/signage-agent/current").readlink() == Path(f"releases/{VERSION}")
    command = root / "usr/local/bin/signage-agent"
    assert VERSION in subprocess.run([command, "version"], capture_output=True, text=True, check=True, cwd="/").stdout
    where = [str(release / "bin/python"), "-I", "-c", "import agent; print(agent.__file__)"]
    assert str(release) in subprocess.run(where, capture_output=True, text=True, check=True).stdout
    assert (root / "etc/signage-agent/agent.toml").read_bytes() == (CHECKOUT / "config/agent.toml").read_bytes()
    assert (root / "etc/signage-agent/agent.toml").stat().st_mode & 0o777 == 0o640
    assert (root / "etc/signage-agent/secrets").stat().st_mode & 0o777 == 0o700
    line = (root / "boot/firmware/cmdline.txt").read_text()
    assert line == COMMAND_LINE + " loglevel=3 vt.global_cursor_default=0 consoleblank=0 logo.nologo\n"
    for unit in ("signage-agent.service", "signage-agent-update.path"):
        assert (root / "etc/systemd/system/multi-user.target.wants" / unit).resolve().is_file()
    _guard(root, "before-start")

    installed = _tree(root)
    assert "nothing had to be changed" in _install(root)
    assert _tree(root) == installed

    _install(root, "--uninstall")
    shutil.rmtree(root / "opt", ignore_errors=True)  # this test made it, not the installer
    assert _tree(root).keys() == before.keys()
    assert (root / "boot/firmware/cmdline.txt").read_text() == COMMAND_LINE + "\n"


def test_short_configuration_and_what_uninstall_keeps(root: Path) -> None:
    """--server writes ten lines and the password's file; uninstall keeps a configuration, --purge does not."""
    _pretend_built(root)
    _install(root, "--server", 'https://signs.example/"a"', "--username", "lobby", "--serial", "LOBBY-01", password="pa ss\n")
    written = root / "etc/signage-agent/agent.toml"
    assert len(written.read_text().splitlines()) <= 12
    configuration = tomllib.loads(written.read_text())
    assert configuration["device"] == {"serial": "LOBBY-01"}
    link = {"kind": "signage", "name": "main", "url": 'https://signs.example/"a"', "username": "lobby"}
    assert configuration["links"] == [link]
    secret = root / "etc/signage-agent/secrets/main.password"
    assert (secret.read_text(), secret.stat().st_mode & 0o777) == ("pa ss\n", 0o600)
    assert "pa ss" not in _install(root, "--server", "https://other.example", "--username", "x")
    assert tomllib.loads(written.read_text()) == configuration

    assert "kept /etc/signage-agent" in _install(root, "--uninstall")
    assert written.exists()
    assert not (root / "opt/signage-agent").exists()
    _install(root, "--uninstall", "--purge")
    assert not (root / "etc").exists() or not (root / "etc/signage-agent").exists()


def test_other_contents_never_replace_a_complete_release(root: Path) -> None:
    """The same version with other contents gets a directory of its own, and the two newest from before stay."""
    _pretend_built(root)
    releases = root / "opt/signage-agent/releases"
    for age, name in enumerate(["0.0.3", "0.0.2", "0.0.1"], 1):
        (releases / name).mkdir()
        (releases / name / ".complete").write_text("old\n")
        os.utime(releases / name, (1e9 - age, 1e9 - age))
    (releases / "0.0.4").mkdir()
    _install(root)
    assert {path.name for path in releases.iterdir()} == {VERSION, "0.0.3", "0.0.2"}


def test_guard_is_delivered_whole(root: Path) -> None:
    """The guard runs from its copy; one that was cut off while it was written, or is another one, is replaced."""
    _pretend_built(root)
    _install(root)
    opt = root / "opt/signage-agent"
    name = (opt / "guard").readlink()
    assert "no complete release is there" in _guard(root, "before-start")  # this one is pretended
    (opt / "guard").unlink()
    (opt / name / "__main__.py").unlink()
    (opt / "guard-0000").mkdir()
    (opt / "guard").symlink_to("guard-0000")
    _install(root)
    assert [path.name for path in opt.glob("guard-*")] == [str(name)]
    _guard(root, "check")
    for module in ("disk", "slots", "guard"):
        assert (opt / f"guard/agent/update/{module}.py").read_bytes() == (CHECKOUT / f"agent/update/{module}.py").read_bytes()


def test_installing_ends_a_probation(root: Path) -> None:
    """What was on probation is no longer what runs; what runs until the restart is not removed, how old it may be."""
    _pretend_built(root)
    releases = root / "opt/signage-agent/releases"
    for age, name in enumerate(["0.0.4", "0.0.3", "0.0.2", "0.0.1"], 1):
        (releases / name).mkdir()
        (releases / name / ".complete").write_text("old\n")
        os.utime(releases / name, (1e9 - age, 1e9 - age))
    (root / "opt/signage-agent/current").symlink_to("releases/0.0.1")
    record = Record(root / "opt/signage-agent")
    record.store(Slots(Candidate(release="0.0.1", version="0.0.1", digest="1", previous="0.0.2", starts=1)))
    _install(root)
    assert record.load().candidate is None
    assert {path.name for path in releases.iterdir()} == {VERSION, "0.0.4", "0.0.1"}


def _guard(root: Path, command: str) -> str:
    """Runs the delivered guard as systemd does, but for where things are; what it says."""
    options = [
        f"--root={root}/opt/signage-agent",
        f"--state-dir={root}/var/lib/signage-agent",
        f"--run={root}/run",
        "--systemctl=true",
    ]
    guard = ["/usr/bin/python3", "-ISB", str(root / "opt/signage-agent/guard"), command, *options]
    result = subprocess.run(guard, capture_output=True, text=True, check=False, cwd="/")
    assert result.returncode == 0, result.stderr
    return result.stderr


def test_refuses_what_it_cannot_do(root: Path) -> None:
    """A wrong option, --server without a user, and an empty password: a clear line, and nothing was touched."""
    before = _tree(root)
    for options, complaint in {
        ("--frobnicate",): "unknown option --frobnicate",
        ("--server", "https://signs.example"): "needs --username",
        ("--server", "https://signs.example", "--username", "x"): "no password",
    }.items():
        result = subprocess.run(
            [CHECKOUT / "scripts/install", "--root", root, *options], input="", capture_output=True, text=True, check=False
        )
        assert result.returncode == 1
        assert complaint in result.stderr
    assert _tree(root) == before


def _pretend_built(root: Path) -> None:
    """This version's release as the installer would find it complete: its marker with the digest of this checkout."""
    script = f"{_function('contents_digest')}\ncheckout={CHECKOUT}\ncontents_digest requirements.lock"
    digest = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, check=True).stdout
    release = root / "opt/signage-agent/releases" / VERSION
    release.mkdir(parents=True)
    (release / ".complete").write_text(digest)


def _function(name: str) -> str:
    """The text of one function of scripts/install."""
    text = (CHECKOUT / "scripts/install").read_text()
    start = text.index(f"\n{name}() {{")
    return text[start : text.index("\n}\n", start) + 3]


# --- the unit ----------------------------------------------------------------------------------------------------------------


UNITS = sorted(path.name for path in SYSTEMD.glob("signage-agent*"))


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units as delivered, their commands where this machine has them."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "current").symlink_to(".")
    for name in ("signage-agent", "python"):
        (tmp_path / "bin" / name).symlink_to(sys.executable)
    (tmp_path / "start-delay").symlink_to(SYSTEMD / "start-delay")
    for name in UNITS:
        (tmp_path / name).write_text((SYSTEMD / name).read_text().replace("/opt/signage-agent", str(tmp_path)))
    return tmp_path


@pytest.mark.parametrize("name", UNITS)
def test_systemd_has_nothing_to_say_about_the_units(units: Path, name: str) -> None:
    """`systemd-analyze verify` prints nothing."""
    result = subprocess.run(["systemd-analyze", "verify", units / name], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@pytest.mark.parametrize("name", [name for name in UNITS if name.endswith(".service")])
def test_exposure_is_low(units: Path, name: str) -> None:
    """`systemd-analyze security` rates the units at most 3.0, those of root at most 2.0."""
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(units / name)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rating = re.search(r"Overall exposure level for \S+: ([\d.]+)", output)
    assert rating is not None
    assert float(rating.group(1)) <= (3.0 if name == "signage-agent.service" else 2.0)


def test_guard_comes_first_and_hinders_nothing() -> None:
    """It runs as root before anything else of a start, and its failure is not the start's; installing has no network."""
    lines = (SYSTEMD / "signage-agent.service").read_text().splitlines()
    before = [line for line in lines if line.startswith("ExecStartPre=")]
    assert before[0] == "ExecStartPre=-+/usr/bin/python3 -ISB /opt/signage-agent/guard before-start"
    assert before[1:] == ["ExecStartPre=-/opt/signage-agent/start-delay"]
    for hand in ("guard", "update"):
        lines = (SYSTEMD / f"signage-agent-{hand}.service").read_text().splitlines()
        # The second one for a folder of the agent's with the sticky bit.
        assert "CapabilityBoundingSet=CAP_DAC_OVERRIDE CAP_FOWNER" in lines
        assert "ReadWritePaths=/opt/signage-agent /run" in lines
    update = (SYSTEMD / "signage-agent-update.service").read_text().splitlines()
    assert {"PrivateNetwork=yes", "IOSchedulingClass=idle", "CPUSchedulingPolicy=idle", "Restart=on-failure"} <= set(update)


def test_unit_leaves_out_what_breaks_the_agent() -> None:
    """Protections that hide the screen, the backlight or what software GL needs stay out; the devices are named one by one."""
    lines = (SYSTEMD / "signage-agent.service").read_text().splitlines()
    settings = [line.split("=", 1) for line in lines if "=" in line and not line.startswith("#")]
    keys = {key for key, _ in settings}
    assert not keys & {"PrivateDevices", "ProtectKernelTunables", "MemoryDenyWriteExecute", "ProcSubset"}
    kinds = ["drm", "alsa", "video4linux", "media", "dma_heap", "i2c", "gpiochip", "cec", "input"]
    assert [value for key, value in settings if key == "DeviceAllow"] == [f"char-{kind} rw" for kind in kinds]
    assert ["StartLimitIntervalSec", "0"] in settings
    assert ["LoadCredential", "secrets:/etc/signage-agent/secrets"] in settings


def test_sysusers_makes_the_user_and_the_groups(tmp_path: Path) -> None:
    """systemd-sysusers makes the user in all groups of the devices, also on a system that lacks some of them."""
    (tmp_path / "etc").mkdir()
    subprocess.run(["systemd-sysusers", f"--root={tmp_path}", SYSTEMD / "sysusers.conf"], check=True, capture_output=True)
    groups = dict(line.split(":x:") for line in (tmp_path / "etc/group").read_text().splitlines())
    for group in ("audio", "gpio", "i2c", "input", "render", "video"):
        assert groups[group].endswith(":signage-agent"), group
    assert "signage-agent:x:" in (tmp_path / "etc/passwd").read_text()


def test_start_delay_grows_with_quick_failures(tmp_path: Path) -> None:
    """0 s after the first failure, then 1, 2, 4 ... 60 s; a start that held a minute, or one by hand, begins anew."""
    restarts = tmp_path / "restarts"
    for name, script in {"sleep": "echo slept $1", "systemctl": f"cat {restarts}"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    state = tmp_path / "starts"

    def start(number: int) -> int:
        restarts.write_text(f"{number}\n")
        environment = {"RUNTIME_DIRECTORY": str(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
        command = [SYSTEMD / "start-delay"]
        output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
        return int(output.split()[-1]) if output else 0

    assert [start(number) for number in range(11)] == [0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]
    started, failures = state.read_text().split()
    state.write_text(f"{int(started) - 1000} {failures}\n")
    assert start(11) == 0
    state.write_text("damaged by a power cut")
    assert start(12) == 0
    assert [start(13), start(14), start(0), start(1), start(2)] == [0, 1, 0, 0, 1]
