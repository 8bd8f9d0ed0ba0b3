"""The demo's restart command: nothing but a note on the console page. `noted_restart.py http://HOST:PORT`."""

from __future__ import annotations

import sys
import urllib.request

request = urllib.request.Request(  # noqa: S310 - the demo's own address
    f"{sys.argv[1]}/console/speaker/restart", data=b"asked to restart; the demo leaves this machine running"
)
urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=5)
