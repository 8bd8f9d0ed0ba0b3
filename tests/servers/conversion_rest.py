"""The REST interface of the fake conversion server: logins, who is let in, jobs and where their outputs are."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from aiohttp import web

from tests.servers.conversion_jobs import ConversionJob, Download
from tests.servers.core import Handler
from tests.servers.exchange import json_body, record_of

if TYPE_CHECKING:
    from tests.servers.conversion import ConversionServer

TOKEN = "9944b09199c62bcf9418ad846dd0e4bbdfc6ee4b"
COOKIE = "demo-session-of-the-projectionist"
USERNAME = "projectionist"
PASSWORD = "popcorn"
PAGE_JOBS = 20
LOCKED_AFTER = 10
"""Wrong passwords."""


class Rest:
    """Accounts and calls. Attributes are knobs."""

    def __init__(self, server: ConversionServer, username: str, password: str) -> None:
        self.authentication = True
        """False: a server that asks nobody who he is."""
        self.username = username
        self.password = password
        self.token = TOKEN
        """The user's only one."""
        self.cookie = COOKIE
        """Value of `sessionid`."""
        self.requires_2fa = False
        self.logins = 0
        """How often somebody tried."""
        self.failed_logins = 0
        """In a row; from LOCKED_AFTER on the account is locked."""
        self.looks = 0
        """How often the list of jobs was asked for."""
        self._server = server

    @property
    def locked(self) -> bool:
        """No login is let in, also not the right one."""
        return self.failed_logins >= LOCKED_AFTER

    def renew_token(self) -> str:
        """The token is another one from now on."""
        self.token = secrets.token_hex(20)
        self._server.hub.event(self._server.kind, "", "note", "the token has been revoked")
        return self.token

    def look_for_leaks(self, request: web.Request) -> None:
        """Complains about a session cookie where it does not belong."""
        if "sessionid" in request.cookies:
            self._server.complain(f"the session cookie went to {request.path}")

    def add_routes(self, app: web.Application) -> None:
        """Adds the paths."""
        app.router.add_post("/api/auth/login/", self._login)
        app.router.add_post("/api/auth/logout/", self._logout)
        app.router.add_get("/api/jobs/", _worded(self._list), allow_head=False)
        app.router.add_get("/api/jobs/{job_id}/", _worded(self._detail), allow_head=False)
        app.router.add_get("/api/jobs/{job_id}/download/", _worded(self._download), allow_head=False)

    async def _login(self, request: web.Request) -> web.StreamResponse:
        self.look_for_leaks(request)
        body = await json_body(request)
        self.logins += 1
        self._server.hub.changed()
        if self.locked:
            self._server.complain("a login to a locked account")
            return web.json_response({"detail": "Account locked. Please try again in 30 minutes."}, status=403)
        if (body.get("email_or_username"), body.get("password")) != (self.username, self.password):
            self.failed_logins += 1
            return web.json_response({"non_field_errors": ["Invalid credentials."]}, status=400)
        self.failed_logins = 0
        if self.requires_2fa:
            return web.json_response(
                {"requires_2fa": True, "email": f"{self.username}@example.org", "message": "Please enter your 2FA code."}
            )
        return web.json_response({"user": {"username": self.username}, "token": self.token, "requires_2fa": False})

    async def _logout(self, request: web.Request) -> web.StreamResponse:
        self._server.complain("a logout, which revokes the user's only token")
        self.renew_token()
        return web.json_response({"detail": "Logged out."})

    async def _list(self, request: web.Request) -> web.StreamResponse:
        self._let_in(request)
        self.looks += 1
        self._server.hub.changed()
        jobs = [job for job in self._server.jobs if not job.hidden]
        page = request.query.get("page", "1")
        number = int(page) if page.isascii() and page.isdigit() else 0
        start = (number - 1) * PAGE_JOBS
        if number < 1 or (start and start >= len(jobs)):
            raise _RestError(404, "Invalid page.")
        base = f"{request.scheme}://{request.host}/api/jobs/?page="
        body = {
            "count": len(jobs),
            "next": f"{base}{number + 1}" if start + PAGE_JOBS < len(jobs) else None,
            "previous": f"{base}{number - 1}" if number > 1 else None,
            "results": [job.item() for job in jobs[start : start + PAGE_JOBS]],
        }
        return web.json_response(body)

    async def _detail(self, request: web.Request) -> web.StreamResponse:
        job = self._job(request)
        job.polls += 1
        self._server.hub.changed()
        return web.json_response(job.detail())

    async def _download(self, request: web.Request) -> web.StreamResponse:
        job = self._job(request)
        job.addresses += 1
        if job.status != "completed":
            raise _RestError(400, "Job is not completed yet.")
        outputs = self._server.outputs
        gone = job.serves == "missing" or (job.serves == "gone" and outputs.form == "direct")
        if job.output is None or gone:
            raise _RestError(404, "Output file not found.")
        if outputs.form == "direct":
            return await outputs.give(request, job, Download(record_of(request).at, False, request.headers.get("Range", "")))
        return web.json_response(outputs.address(job))

    def _job(self, request: web.Request) -> ConversionJob:
        """The job that is meant. Raises the answer if it is nobody's business."""
        self._let_in(request)
        job = self._server.job(request.match_info["job_id"])
        if job is None or job.hidden:
            raise _RestError(404, "Not found.")
        return job

    def _let_in(self, request: web.Request) -> None:
        """Raises the answer to who has no token."""
        self.look_for_leaks(request)
        if not self.authentication:
            return
        scheme, _, key = request.headers.get("Authorization", "").partition(" ")
        if scheme != "Token" or not key:
            raise _RestError(403, "Authentication credentials were not provided.")
        if key != self.token:
            raise _RestError(403, "Invalid token.")


class _RestError(Exception):
    """An answer that is an error, as Django's REST framework words it."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status


def _worded(handler: Handler) -> Handler:
    async def answer(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except _RestError as error:
            return web.json_response({"detail": str(error)}, status=error.status)

    return answer
