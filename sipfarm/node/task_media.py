"""The stream of a task's call in the media plane: opened, led elsewhere, protected, closed."""

import ipaddress
from typing import Final

from sipfarm.media.io.native_plane import MediaPlane
from sipfarm.media.plan import Endpoint, Stream
from sipfarm.media.sdes import REPLAY_WINDOW, Crypto
from sipfarm.media.securing import Security
from sipfarm.native import SrtpKeying

SIDE: Final = "a"
"""An echo has one."""


class TaskMedia:
    """One call's; its port is taken from the pool already, and goes back with `close`."""

    def __init__(self, plane: MediaPlane, port: int) -> None:
        self._plane = plane
        self._port = port
        self._security: Security | None = None
        self.stream = 0
        """0: not opened yet."""
        self.is_broken = False
        """The plane would not protect what is to be protected: the call cannot go on."""

    def open(self, stream: Stream) -> None:
        self.stream = self._plane.new_stream()
        rtp, rtcp = _endpoints(stream)
        local_port = stream.local.rtp_port
        self._plane.plane.open_echo(self.stream, local_port, rtp, rtcp, stream.rtcp_mux)
        self._secure(stream.security)

    def update(self, stream: Stream) -> None:
        rtp, rtcp = _endpoints(stream)
        if not stream.is_sending:
            rtp = rtcp = None
        self._secure(stream.security)
        self._plane.plane.set_remote(self.stream, rtp, rtcp, stream.rtcp_mux)
        self._plane.plane.set_held(self.stream, not stream.is_receiving)

    def close(self, now_ms: int) -> None:
        if self.stream:
            self._plane.plane.close(self.stream)
        self._plane.pool.give_back(self._port, now_ms)

    def _secure(self, security: Security | None) -> None:
        """A direction whose key stays goes on where it is, rollover counter and all (RFC 4568
        §7.1.4).
        """
        before, self._security = self._security, security
        if security == before:
            return
        plane = self._plane.plane
        if security is None:
            done = plane.clear_security(self.stream, SIDE)
        else:
            receive, send = security.receive, security.send
            done = plane.set_security(
                self.stream,
                SIDE,
                _keying(receive),
                _keying(send),
                keep_inbound=_stays(receive, before and before.receive),
                keep_outbound=_stays(send, before and before.send),
                replay_window=receive.replay_window if receive is not None else REPLAY_WINDOW,
                rocs_tried=security.rocs_tried,
            )
        self.is_broken |= not done


def _stays(key: Crypto | None, before: Crypto | None) -> bool:
    return key is not None and key.has_key_of(before)


def _keying(crypto: Crypto | None) -> SrtpKeying | None:
    if crypto is None:
        return None
    mki = crypto.mki.wire if crypto.mki is not None else b""
    if crypto.lifetime is None:
        return SrtpKeying(crypto.suite, crypto.master, mki)
    return SrtpKeying(crypto.suite, crypto.master, mki, crypto.lifetime)


def _endpoints(stream: Stream) -> tuple[tuple[str, int] | None, tuple[str, int] | None]:
    return _literal(stream.rtp), _literal(stream.rtcp)


def _literal(endpoint: Endpoint | None) -> tuple[str, int] | None:
    """An endpoint that packets can be sent to; one named by a host waits for its first packet."""
    if endpoint is None:
        return None
    try:
        ipaddress.ip_address(endpoint.address)
    except ValueError:
        return None
    return endpoint.address, endpoint.port
