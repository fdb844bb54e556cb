"""TLS: the certificates that the farm shows, by the name asked for, and what it trusts itself."""

import asyncio
import ssl
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Final, Protocol

import msgspec
from structlog.typing import FilteringBoundLogger

from sipfarm.base.errors import CapacityError, StartError
from sipfarm.base.records import Domain

NAMES_MAX: Final = 4_096  # that have a certificate of their own, or are known to have none
LOOK_UPS_MAX: Final = 16  # under way at once
LOOK_AGAIN_S: Final = 60.0  # a certificate may have been renewed, added or removed
NAME_CHARS_MAX: Final = 253

Choose = Callable[["ssl.SSLObject | ssl.SSLSocket", str | None, ssl.SSLContext], None]


class DomainSource(Protocol):
    """Where the domains are kept. Raises CapacityError when it cannot tell now."""

    async def domains(self) -> tuple[Domain, ...]: ...
    async def domain(self, name: str) -> Domain | None: ...


class Pair(msgspec.Struct, frozen=True):
    """A certificate with its chain, and its key: PEM files."""

    certificate: Path
    key: Path

    def written_ns(self) -> tuple[int, int]:
        """When the files were written; 0 for one that is not there."""
        return _written_ns(self.certificate), _written_ns(self.key)


class _Known(msgspec.Struct, frozen=True):
    """What was found out about a name: its context, or that it has none of its own."""

    pair: Pair | None
    written_ns: tuple[int, int]
    context: ssl.SSLContext | None
    looked_at_s: float


class Certificates:
    """What listeners show: the farm's certificate, or that of the name asked for (RFC 6066 §3).

    A name that is not known yet is shown the farm's, and looked up for the next time. What is old
    goes on being shown while it is looked at again.
    """

    def __init__(
        self,
        own: Pair,
        source: DomainSource,
        group: asyncio.TaskGroup,
        log: FilteringBoundLogger,
    ) -> None:
        """Raises StartError for files that cannot be used."""
        self._now_s = asyncio.get_running_loop().time
        self._source = source
        self._group = group
        self._log = log
        self._own = _Known(own, own.written_ns(), self._context(own), self._now_s())
        self._names: OrderedDict[str, _Known] = OrderedDict()
        self._looking: set[str] = set()

    async def load(self) -> None:
        """Read the certificates of the domains that have some."""
        for domain in await self._source.domains():
            if domain.certificate is not None and len(self._names) < NAMES_MAX:
                await self._learn(domain.name, domain)

    def look_again(self) -> None:
        """The domains were changed: what is known of them is as good as old."""
        for name, known in self._names.items():
            self._names[name] = msgspec.structs.replace(known, looked_at_s=-LOOK_AGAIN_S)

    @property
    def context(self) -> ssl.SSLContext:
        """For a new connection."""
        if self._is_old(self._own):
            self._look_up("", self._renew_own)
        context = self._own.context
        assert context is not None
        return context

    def _choose(
        self, connection: ssl.SSLObject | ssl.SSLSocket, asked: str | None, _: ssl.SSLContext
    ) -> None:
        name = (asked or "").lower().removesuffix(".")
        if not name or len(name) > NAME_CHARS_MAX:
            return
        known = self._names.get(name)
        if known is not None:
            self._names.move_to_end(name)
            if known.context is not None:
                connection.context = known.context
        if known is None or self._is_old(known):
            self._look_up(name, lambda: self._find(name))

    def _is_old(self, known: _Known) -> bool:
        return self._now_s() - known.looked_at_s > LOOK_AGAIN_S

    def _look_up(self, name: str, work: Callable[[], Coroutine[object, object, None]]) -> None:
        if name not in self._looking and len(self._looking) < LOOK_UPS_MAX:
            self._looking.add(name)
            self._group.create_task(self._finish(name, work()))

    async def _finish(self, name: str, work: Coroutine[object, object, None]) -> None:
        try:
            await work
        except CapacityError:
            self._log.info("certificate_not_looked_up", name=name)
        finally:
            self._looking.discard(name)

    async def _find(self, name: str) -> None:
        await self._learn(name, await self._source.domain(name))

    async def _learn(self, name: str, domain: Domain | None) -> None:
        """Note what a name has; files that cannot be used are told, and the old ones go on."""
        before = self._names.get(name)
        if domain is None or domain.certificate is None or domain.key is None:
            known = _Known(None, (0, 0), None, self._now_s())
        else:
            pair = Pair(Path(domain.certificate), Path(domain.key))
            known = await self._read(name, pair, before)
        self._names[name] = known
        self._names.move_to_end(name)
        if len(self._names) > NAMES_MAX:
            self._names.popitem(last=False)

    async def _renew_own(self) -> None:
        assert self._own.pair is not None
        self._own = await self._read("", self._own.pair, self._own)

    async def _read(self, name: str, pair: Pair, before: _Known | None) -> _Known:
        written_ns = await asyncio.to_thread(pair.written_ns)
        context = None if before is None else before.context
        changed = before is None or (before.pair, before.written_ns) != (pair, written_ns)
        if changed:
            try:
                context = await asyncio.to_thread(self._context, pair)
            except StartError as error:
                self._log.warning("certificate_unusable", name=name, reason=str(error))
        return _Known(pair, written_ns, context, self._now_s())

    def _context(self, pair: Pair) -> ssl.SSLContext:
        return server_context(pair, self._choose)


def server_context(pair: Pair, choose: Choose | None = None) -> ssl.SSLContext:
    """A context for accepted connections. StartError says which file cannot be used, and why."""
    for file in (pair.certificate, pair.key):
        try:
            file.open("rb").close()
        except OSError as error:
            raise StartError(f"{file} cannot be read: {(error.strerror or '').lower()}") from error
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(pair.certificate)
    except ssl.SSLError:
        raise StartError(f"{pair.certificate} holds no certificate in PEM form") from None

    def no_passphrase() -> str:
        raise StartError(f"the key in {pair.key} is locked by a passphrase: nobody is there to ask")

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    try:
        context.load_cert_chain(pair.certificate, pair.key, password=no_passphrase)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise StartError(f"{pair.key} is not the key of {pair.certificate}") from None
        raise StartError(f"{pair.key} holds no key in PEM form") from None
    if choose is not None:
        context.sni_callback = choose
    return context


def client_context(*, verify: bool) -> ssl.SSLContext:
    """A context for connections that we open; by what the machine trusts (SSL_CERT_FILE)."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _written_ns(file: Path) -> int:
    try:
        return file.stat().st_mtime_ns
    except OSError:
        return 0
