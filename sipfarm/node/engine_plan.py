"""The engine and the streams of a member, as its config has them."""

from collections.abc import Sequence
from typing import Final

import msgspec

from sipfarm.base.net import Listen, Transport
from sipfarm.base.records import MemberRecord
from sipfarm.config import Config
from sipfarm.media.io.native_plane import MediaPlane
from sipfarm.native import Engine, Hop
from sipfarm.node.protection import protection_of
from sipfarm.node.users import keys_of
from sipfarm.signaling.io.streams import StreamSettings

TRANSACTIONS_MAX: Final = 400_000


def engine_of(
    config: Config,
    listens: Sequence[Listen],
    plane: MediaPlane,
    record: MemberRecord,
    directory_key: bytes,
    now_ms: int,
) -> Engine:
    """The engine of one incarnation."""
    current, *previous = [keys.mark for keys in keys_of(config)]
    return Engine(
        plane.pool,
        listens=[_listen_spec(config, listen) for listen in listens],
        member=record.number,
        epoch=record.epoch,
        mark_key=current,
        mark_key_id=current[0] & 3,
        previous_mark_key=previous[0] if previous else None,
        previous_mark_key_id=previous[0][0] & 3 if previous else 0,
        transaction_key=directory_key,
        media=plane.plane.advertise,
        now_ms=now_ms,
        transactions_max=TRANSACTIONS_MAX,
        claims=config.farm.balancing == "packet",
        reply_via_receiver=config.sip.reply_via == "receiver",
        protect=protection_of(config),
    )


def stream_settings(config: Config) -> StreamSettings:
    """Behind a balancer that rewrites addresses all phones come from one."""
    settings = StreamSettings(origins=frozenset(config.sip.origins))
    if config.sip.reply_via != "receiver":
        return settings
    return msgspec.structs.replace(
        settings,
        per_source_max=settings.connections_max,
        handshakes_per_source_max=settings.handshakes_max,
    )


def _listen_spec(config: Config, listen: Listen) -> tuple[Hop, str, int]:
    address = listen.address
    advertise = config.sip.advertise or address
    shared = listen.transport in {Transport.UDP, Transport.TCP}
    hop = Hop(listen.transport.value, address.host, address.port)
    return hop, advertise.bracketed_host, advertise.port if shared else address.port
