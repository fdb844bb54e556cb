"""Asking an admin API: one request, one answer, bounded in time and size."""

import asyncio
import http.client
import re
import threading
from collections.abc import Callable, Mapping
from typing import Final, TypeVar
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec

from sipfarm.admin.face import NotReached, NotThere
from sipfarm.admin.pages import Page
from sipfarm.admin.views import ErrorView
from sipfarm.base.errors import SipfarmError
from sipfarm.base.secrets import Secret

T = TypeVar("T")
ANSWER_S: Final = 2.0
ANSWER_BYTES_MAX: Final = 16 << 20
PAGE: Final = 1_000
"""Entries that are asked for at a time."""

_NEXT: Final = re.compile(r'<\?([^>]*)>; rel="next"')

_describing = threading.Lock()


class Refused(SipfarmError):
    """The admin API said no."""

    def __init__(self, reason: str, status: int = 0) -> None:
        super().__init__(reason)
        self.status = status


class Answer(msgspec.Struct, frozen=True):
    """What came back."""

    status: int
    content_type: str
    body: bytes
    link: str = ""
    """To the next page of a list (RFC 8288)."""


class AdminClient:
    """Asks one admin API. It blocks: on an event loop use `asking`."""

    def __init__(self, url: str, token: Secret | None = None, answer_s: float = ANSWER_S) -> None:
        """`url` as in `http://127.0.0.1:8080`, or without the scheme."""
        try:
            parts = urlsplit(url if "://" in url else f"http://{url}")
            host, port = parts.hostname, parts.port
        except ValueError:
            host, port, parts = None, None, urlsplit("")
        if parts.scheme not in ("http", "https") or not host:
            raise Refused(f'"{url}" is no address of an admin API: write http://HOST:PORT')
        self.url = f"{parts.scheme}://{parts.netloc}"
        self._secure = parts.scheme == "https"
        self._host, self._port = host, port
        self._token = token
        self._answer_s = answer_s

    def exchange(self, method: str, target: str, body: bytes = b"") -> Answer:
        """Send a request and read the answer, whatever it says. NotReached if there is none."""
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=self._answer_s)
        headers = {"Connection": "close"}
        if body:
            headers["Content-Type"] = "application/json"
        if self._token is not None:
            headers["Authorization"] = f"Bearer {self._token.reveal()}"
        try:
            connection.request(method, target, body or None, headers)
            answer = connection.getresponse()
            body = answer.read(ANSWER_BYTES_MAX + 1)
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise NotReached(f"{self.url} does not answer: {reason.lower()}") from error
        finally:
            connection.close()
        if len(body) > ANSWER_BYTES_MAX:
            raise NotReached(f"{self.url} answers with more than {ANSWER_BYTES_MAX} bytes")
        told = answer.headers
        return Answer(answer.status, told.get("Content-Type", ""), body, told.get("Link", ""))

    def get(self, target: str, kind: type[T]) -> T:
        """GET a view. Refused or NotThere says why not."""
        return self._read(self.exchange("GET", target), kind)

    def page(self, target: str, kind: type[list[T]]) -> Page[T]:
        """GET one page of a list."""
        answer = self.exchange("GET", target)
        return Page(self._read(answer, kind), _after(answer.link))

    def pages(
        self,
        path: str,
        query: Mapping[str, str],
        kind: type[list[T]],
        limit: int,
        *,
        together: int = PAGE,
    ) -> list[T]:
        """GET up to `limit` entries of a list, page by page."""
        found: list[T] = []
        after = ""
        while True:
            wanted = {"limit": str(min(limit - len(found), together))}
            asked = {**query, **wanted, **({"after": after} if after else {})}
            page = self.page(f"{path}?{urlencode(asked)}", kind)
            found += page.entries
            if not page.next or page.next == after or len(found) >= limit:
                return found
            after = page.next

    def post(self, target: str, kind: type[T], body: object = None) -> T:
        return self._send("POST", target, kind, body)

    def put(self, target: str, kind: type[T], body: object) -> T:
        return self._send("PUT", target, kind, body)

    def delete(self, target: str, kind: type[T]) -> T:
        return self._send("DELETE", target, kind, None)

    def _send(self, method: str, target: str, kind: type[T], body: object) -> T:
        encoded = b"" if body is None else msgspec.json.encode(body)
        return self._read(self.exchange(method, target, encoded), kind)

    def _read(self, answer: Answer, kind: type[T]) -> T:
        if answer.status not in (200, 201):
            reason = _reason(self.url, answer)
            raise NotThere(reason) if answer.status == 404 else Refused(reason, answer.status)
        try:
            return decoded(answer.body, kind)
        except msgspec.MsgspecError as error:
            raise Refused(f"{self.url} answers with something else: {error}") from error


async def asking(ask: Callable[[], T]) -> T:
    """Let a client ask on a thread, so that the event loop goes on."""
    return await asyncio.to_thread(ask)


def decoded(body: bytes, kind: type[T]) -> T:
    """msgspec describes a struct when it first meets it, and shows other threads half of that."""
    with _describing:
        decoder = msgspec.json.Decoder(kind)
    return decoder.decode(body)


def _after(link: str) -> str:
    """The cursor in a link to the next page."""
    found = _NEXT.fullmatch(link)
    return parse_qs(found[1]).get("after", [""])[0] if found else ""


def _reason(url: str, answer: Answer) -> str:
    try:
        return decoded(answer.body, ErrorView).error
    except msgspec.MsgspecError:
        return f"{url} answers with status {answer.status}"
