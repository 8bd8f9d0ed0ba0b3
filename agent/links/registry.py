"""Which protocols there are: a folder each, and one line here."""

from __future__ import annotations

import importlib
import logging
import ssl
from collections.abc import Callable, Iterable
from typing import Any

from agent import settings
from agent.device import Device
from agent.links.link import Link

log = logging.getLogger(__name__)


def load(kinds: Iterable[str]) -> None:
    """Imports the rooms of these kinds and no others: it takes time, so not in the event loop, and memory."""
    for kind in kinds:
        if kind in _MAKERS:
            importlib.import_module(f"agent.links.{kind}.link")


def make_link(link: settings.Link, device: Device) -> Link | None:
    """The link that these settings describe; None, and a line in the log, for a protocol this version does not speak yet."""
    maker = _MAKERS.get(link.kind)
    if maker is None:
        log.warning("this version does not speak the protocol yet link=%s kind=%s", link.name, link.kind)
        return None
    tls, fault = _tls(link)
    made = maker(link, device, tls)
    if made is not None:
        made.tls_fault = fault
    return made


def _signage(link: settings.SignageLink, device: Device, tls: ssl.SSLContext | None) -> Link:
    from agent.links.signage.link import SignageLink  # noqa: PLC0415 - see `load`

    return SignageLink(
        link.name,
        device,
        url=link.url,
        username=link.username,
        password=link.password.get_secret_value(),
        sides={str(side): screen for side, screen in link.sides.items()},
        priority=link.priority,
        spread_s=link.spread_s,
        screenshots_s=0.0 if link.screenshots == "off" else float(link.screenshots),
        screenshot_form=link.screenshot_form,
        tls=tls,
    )


def _camera(link: settings.CameraLink, device: Device, tls: ssl.SSLContext | None) -> Link | None:
    from agent.links.camera.link import CameraLink  # noqa: PLC0415 - see `load`

    return CameraLink(
        link.name,
        device.camera,
        url=link.url,
        device_id=link.device_id or device.identity.serial,
        device_name=lambda: device.name.value,
        token=link.token.get_secret_value() if link.token is not None else "",
        heartbeat_s=link.heartbeat_s,
        spread_s=link.spread_s,
        sysfs=device.sysfs,
        tls=tls,
    )


def _speaker(link: settings.SpeakerLink, device: Device, tls: ssl.SSLContext | None) -> Link:
    from agent.links.speaker.link import SpeakerLink  # noqa: PLC0415 - see `load`

    return SpeakerLink(
        link.name,
        device,
        url=link.url,
        device_id=link.device_id or device.identity.device_id,
        token=link.token.get_secret_value() if link.token is not None else "",
        require_sha256=link.require_sha256,
        priority=link.priority,
        spread_s=link.spread_s,
        tls=tls,
    )


def _tronbyt(link: settings.TronbytLink, device: Device, tls: ssl.SSLContext | None) -> Link:
    from agent.links.tronbyt.link import TronbytLink  # noqa: PLC0415 - see `load`

    return TronbytLink(
        link.name,
        device,
        url=link.url,
        screen=link.screen,
        key=link.key.get_secret_value() if link.key is not None else "",
        mode=link.mode,
        brightness_scale=link.brightness_scale,
        allow_reboot=link.allow_reboot,
        offline_mark=link.offline_mark,
        hold_s=link.hold_s,
        priority=link.priority,
        spread_s=link.spread_s,
        tls=tls,
    )


def _conversion(link: settings.ConversionLink, device: Device, tls: ssl.SSLContext | None) -> Link:
    from agent.links.conversion.link import ConversionLink  # noqa: PLC0415 - see `load`

    return ConversionLink(
        link.name,
        device,
        screen=device.screens[link.screen],
        url=link.url,
        token=link.token.get_secret_value() if link.token is not None else "",
        username=link.username,
        password=link.password.get_secret_value() if link.password is not None else "",
        session_cookie=link.session_cookie.get_secret_value() if link.session_cookie is not None else "",
        job=link.job,
        play=link.play,
        connect_to=link.connect_to,
        priority=link.priority,
        spread_s=link.spread_s,
        tls=tls,
    )


_MAKERS: dict[str, Callable[[Any, Device, ssl.SSLContext | None], Link | None]] = {
    "camera": _camera,
    "conversion": _conversion,
    "signage": _signage,
    "speaker": _speaker,
    "tronbyt": _tronbyt,
}


def _tls(link: settings.BaseLink) -> tuple[ssl.SSLContext | None, str]:
    """Verifies servers against the system's authorities, and `ca_file` where one is configured; then why that is no use."""
    if link.url.startswith(("http:", "ws:")) or "://" not in link.url:
        return None, ""
    context = ssl.create_default_context()
    if link.ca_file is not None:
        try:
            context.load_verify_locations(link.ca_file)
        except OSError as error:  # an unreadable certificate, too: SSLError is an OSError
            fault = f"ca_file {link.ca_file} cannot be used, only the system's authorities count: {error}"
            log.error("%s link=%s", fault, link.name)  # noqa: TRY400
            return context, fault
    return context, ""
