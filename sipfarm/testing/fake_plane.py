"""A media plane that carries nothing: ports from a real pool, and a note of what is open."""

from typing import Final

from sipfarm.native import PortPool, SrtpKeying

FIRST_PORT: Final = 20_000
REST_MS: Final = 1_000


class FakeCarrier:
    """The control methods of the native plane."""

    def __init__(self, advertise: str) -> None:
        self.advertise = advertise
        self.open: set[int] = set()

    def open_echo(
        self,
        stream: int,
        port: int,
        rtp: tuple[str, int] | None,
        rtcp: tuple[str, int] | None,
        rtcp_mux: bool,
    ) -> None:
        self.open.add(stream)

    def set_remote(
        self,
        stream: int,
        rtp: tuple[str, int] | None,
        rtcp: tuple[str, int] | None,
        rtcp_mux: bool,
    ) -> None:
        assert stream in self.open

    def set_held(self, stream: int, held: bool) -> None:
        assert stream in self.open

    def set_security(
        self,
        stream: int,
        side: str,
        inbound: SrtpKeying | None,
        outbound: SrtpKeying | None,
        **options: int,
    ) -> bool:
        return stream in self.open

    def clear_security(self, stream: int, side: str) -> bool:
        return stream in self.open

    def close(self, stream: int) -> None:
        self.open.discard(stream)


class FakePlane:
    """Stands where `sipfarm.media.io.native_plane.MediaPlane` does."""

    def __init__(self, advertise: str, pairs: int) -> None:
        self.pool = PortPool(REST_MS)
        for pair in range(pairs):
            self.pool.add(FIRST_PORT + 2 * pair)
        self.plane = FakeCarrier(advertise)
        self._streams = 1 << 62

    def new_stream(self) -> int:
        self._streams += 1
        return self._streams
