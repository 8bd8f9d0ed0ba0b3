"""Which protocols there are: a folder each, and one line here."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable
from typing import Any

from agent import settings
from agent.device import Device
from agent.links.link import Link
from agent.links.signage.link import SignageLink

log = logging.getLogger(__name__)


def make_link(link: settings.Link, device: Device) -> Link | None:
    """The link that these settings describe; None, and a line in the log, for a protocol this version does not speak yet."""
    maker = _MAKERS.get(link.kind)
    if maker is None:
        log.warning("this version does not speak the protocol yet link=%s kind=%s", link.name, link.kind)
        return None
    return maker(link, device, _tls(link))


def _signage(link: settings.SignageLink, device: Device, tls: ssl.SSLContext | None) -> Link:
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


_MAKERS: dict[str, Callable[[Any, Device, ssl.SSLContext | None], Link]] = {
    "signage": _signage,
}


def _tls(link: settings.BaseLink) -> ssl.SSLContext | None:
    """Verifies servers against the system's authorities, and `ca_file` where one is configured."""
    if link.url.startswith(("http:", "ws:")):
        return None
    context = ssl.create_default_context()
    if link.ca_file is not None:
        try:
            context.load_verify_locations(link.ca_file)
        except OSError as error:  # an unreadable certificate, too: SSLError is an OSError
            log.error("ca_file cannot be used, only the system's authorities count link=%s error=%s", link.name, error)  # noqa: TRY400
    return context
