"""How the fake conversion server gives outputs: behind signed addresses on the hub's second port, or as the file itself."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, urlencode, urlsplit

from aiohttp import web

from tests.servers.conversion_jobs import ConversionJob, Download
from tests.servers.exchange import FAULT, record_of
from tests.servers.files import MediaFile, give

if TYPE_CHECKING:
    from tests.servers.conversion import ConversionServer

BUCKET = "/bucket/"
Form = Literal["signed", "direct"]
Ranges = Literal["honoured", "ignored", "unsatisfiable"]
"""How a request for the rest of an output is answered: 206, 200 with all of it, 416."""

PAGE = b"<!doctype html><html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>\n"


class Outputs:
    """Signed addresses and what is behind them. Attributes are knobs."""

    def __init__(self, server: ConversionServer) -> None:
        self.form: Form = "signed"
        self.ranges: Ranges = "honoured"
        self.expires_s = 3600.0
        """How long an address is good for."""
        self.host = ""
        """In addresses, instead of the second port's own: a name that only the server's network knows."""
        self.issued = 0
        """How many addresses have been given away."""
        self._server = server
        self._key = secrets.token_bytes(32)

    def expire(self) -> None:
        """All addresses given away so far are no longer good."""
        self._key = secrets.token_bytes(32)
        self._server.hub.event(self._server.kind, "", "note", "all signed addresses have expired")

    def address(self, job: ConversionJob) -> dict[str, Any]:
        """What REST answers to the question where the output is."""
        self.issued += 1
        stale = job.addresses <= job.stale_addresses
        parts = urlsplit(self._server.hub.foreign_url)
        host = self.host or parts.netloc
        path = f"{BUCKET}{job.job_id}/{job.output_name}"
        issued = time.time() - (self.expires_s + 60 if stale else 0)
        query = {
            "X-Amz-Algorithm": "AWS4-HMAC-SHA256",
            "X-Amz-Date": f"{issued:.3f}",
            "X-Amz-Expires": f"{self.expires_s:g}",
            "X-Amz-Signature": self._sign(host, path, f"{issued:.3f}", f"{self.expires_s:g}"),
        }
        url = f"{parts.scheme}://{host}{BUCKET}{job.job_id}/{quote(job.output_name, safe='')}?{urlencode(query)}"
        return {"download_url": url, "expires_in": int(self.expires_s), "filename": job.output_name}

    def add_routes(self, app: web.Application) -> None:
        """Adds the paths."""
        app.router.add_route("*", f"{BUCKET}{{job_id}}/{{name:.*}}", self._signed)

    async def _signed(self, request: web.Request) -> web.StreamResponse:
        record, server = record_of(request), self._server
        if not record.foreign:
            return web.Response(status=404, text="no bucket here")
        if "Authorization" in record.headers or "Cookie" in record.headers:
            server.complain("credentials went to the host of the signed addresses")
            return _denied(400, "InvalidArgument", "Only one auth mechanism allowed")
        if request.method != "GET":
            server.complain(f"{request.method} to a signed address")
            return _denied(403, "SignatureDoesNotMatch", "The address was signed for GET")
        fault = self._refusal(request)
        if fault:
            return _denied(403, "AccessDenied", fault)
        job = server.job(request.match_info["job_id"])
        if job is None or job.output is None or job.serves == "gone":
            return _denied(404, "NoSuchKey", "The specified key does not exist.")
        return await self.give(request, job, Download(record.at, signed=True, range=record.headers.get("Range", "")))

    async def give(self, request: web.Request, job: ConversionJob, download: Download) -> web.StreamResponse:
        """Answers with the output, or with what comes instead of it."""
        server, fault = self._server, request[FAULT]
        assert job.output is not None
        job.downloads.append(download)
        server.hub.changed()
        if download.signed and download.range and self.ranges == "unsatisfiable":
            download.status = 416
            return _denied(416, "InvalidRange", "The requested range is not satisfiable")
        if not download.signed or self.ranges == "ignored":
            fault.ignore_range = True
        if job.serves == "page":
            download.status, download.whole = 200, True
            return web.Response(body=PAGE, content_type="text/html")
        answer = await give(request, await asyncio.to_thread(self._file, job, direct=not download.signed))
        part = isinstance(answer, web.FileResponse) and download.range  # which says so itself only when it is sent
        download.status, download.whole = 206 if part else answer.status, answer.status in (200, 206)
        server.hub.event(server.kind, job.name[:60], "note", "output given", {"status": download.status, "range": download.range})
        return answer

    @staticmethod
    def _file(job: ConversionJob, *, direct: bool) -> MediaFile:
        output = job.output
        assert output is not None
        if direct:
            output = MediaFile(output.name, output.data, "application/octet-stream")
        if job.serves == "output":
            return output
        data = output.data if isinstance(output.data, bytes) else output.data.read_bytes()
        other = {"posing": (PAGE * (len(data) // len(PAGE) + 1))[: len(data)], "truncated": data[: len(data) // 2]}
        return MediaFile(output.name, other.get(job.serves, data + data[:1000]), output.mimetype)

    def _refusal(self, request: web.Request) -> str:
        """Why an address is not good; empty: it is."""
        query = request.query
        issued, lasts = query.get("X-Amz-Date", ""), query.get("X-Amz-Expires", "")
        signature = self._sign(request.host, request.path, issued, lasts)
        if not hmac.compare_digest(signature, query.get("X-Amz-Signature", "")):
            return "The request signature does not match"
        return "Request has expired" if time.time() > float(issued) + float(lasts) else ""

    def _sign(self, *parts: str) -> str:
        return hmac.new(self._key, "\n".join(parts).encode(), hashlib.sha256).hexdigest()


def _denied(status: int, code: str, words: str) -> web.Response:
    """An error as S3 words it."""
    text = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{words}</Message></Error>'
    return web.Response(status=status, text=text, content_type="application/xml")
