"""Which audio of ours is SRTP, by which keys, and what is said of it in offer and answer.

RFC 4568 §5 and §7. A line of RTP/AVP with crypto attributes is what phones offer that would like
SRTP and can do without; it is answered as RTP/AVP with a crypto attribute, or with none.
"""

from typing import Final

import msgspec

from sipfarm.base.records import SrtpPolicy
from sipfarm.base.secrets import Secret
from sipfarm.media.sdes import (
    Crypto,
    accepted,
    attributes_of,
    cryptos_of,
    is_keyed,
    made,
    offers,
    renewed,
)
from sipfarm.media.sdp import Attribute, Media, SdpError, SessionDescription

PLAIN_PROFILES: Final = frozenset({"RTP/AVP", "RTP/AVPF"})
SECURE_PROFILES: Final = frozenset({"RTP/SAVP", "RTP/SAVPF"})
ROCS_TRIED: Final = 2
ROCS_TRIED_BY_HEIRS: Final = 64
"""A peer that keeps its key is heard up to 23 hours into a call of 50 packets a second."""


class Terms(msgspec.Struct, frozen=True):
    """What we want of SRTP, and the secret that keys of one call are made of."""

    policy: SrtpPolicy = "off"
    seed: Secret = Secret("")


class Security(msgspec.Struct, frozen=True):
    """How a stream is protected. A direction without a key is not known yet: nothing passes."""

    receive: Crypto | None = None
    send: Crypto | None = None
    rocs_tried: int = ROCS_TRIED

    @property
    def withheld(self) -> "Security":
        """The same for an heir, who gets keys of its own, and from the peer what it sends by."""
        return Security(rocs_tried=ROCS_TRIED_BY_HEIRS)


class Secured(msgspec.Struct, frozen=True):
    """What is said under an m= line of ours, and what it means; no security: plain RTP."""

    attributes: tuple[Attribute, ...] = ()
    security: Security | None = None


def answer_to(
    media: Media, terms: Terms, version: int, standing: Security | None = None
) -> Secured | None:
    """What an offered m= line is answered with; None: it cannot be met.

    The peer's first attribute that we can do is accepted. Our key stays as long as the peer's does,
    so that the rollover counters of both directions go on; a new key of the peer gets a new one.
    """
    is_plain = media.protocol in PLAIN_PROFILES
    if not is_plain and media.protocol not in SECURE_PROFILES:
        return None
    offered = cryptos_of(media) if terms.policy != "off" else ()
    if not offered:
        return Secured() if is_plain and terms.policy != "require" else None
    theirs = offered[0]
    kept = standing.send if standing is not None and theirs.has_key_of(standing.receive) else None
    if kept is None or kept.suite != theirs.suite:
        kept = made(theirs.tag, theirs.suite, terms.seed, version)
    ours = msgspec.structs.replace(kept, tag=theirs.tag)
    return Secured(attributes_of((ours,)), _agreed(theirs, ours, standing))


def offered_by(terms: Terms, version: int) -> tuple[str, tuple[Attribute, ...]]:
    """The profile and attributes of a first offer."""
    if terms.policy == "off":
        return "RTP/AVP", ()
    profile = "RTP/SAVP" if terms.policy == "require" else "RTP/AVP"
    return profile, attributes_of(offers(terms.seed, version))


def renewed_description(kept: SessionDescription, terms: Terms) -> SessionDescription:
    """What an heir says in place of what was kept: with keys of its own (RFC 3711 §9.1)."""
    version = kept.origin.session_version + 1
    lines = [
        msgspec.structs.replace(media, attributes=renewed(media.attributes, terms.seed, version))
        for media in kept.media
    ]
    return msgspec.structs.replace(kept, media=tuple(lines))


def completed(
    ours: Media, theirs: Media, terms: Terms, standing: Security | None = None
) -> Security | None:
    """What the answer has made of our offer; None: plain RTP."""
    offered = cryptos_of(ours)
    if not is_keyed(theirs) or not offered:
        if ours.protocol in SECURE_PROFILES or is_keyed(theirs) or terms.policy == "require":
            raise SdpError("the answer has not the protection of the offer", status=488)
        return None
    send, receive = accepted(offered, cryptos_of(theirs))
    return _agreed(receive, send, standing)


def _agreed(receive: Crypto, send: Crypto, standing: Security | None) -> Security:
    is_heirs = standing is not None and standing.receive is None
    return Security(receive, send, ROCS_TRIED_BY_HEIRS if is_heirs else ROCS_TRIED)
