"""Keys of SRTP in session descriptions: the crypto attribute (RFC 4568).

A line that is malformed raises SdpError; one that is well formed and asks for what is not done here
raises UnsupportedCryptoError, and is passed over where it was one of several.
"""

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Final

import msgspec

from sipfarm.base.secrets import Secret, derive_key
from sipfarm.media.sdp import Attribute, Media, SdpError

CRYPTO: Final = "crypto"
CRYPTOS_MAX: Final = 32
"""Of one media description."""
TAG_DIGITS_MAX: Final = 9
LIFETIME_BITS_MAX: Final = 48
MKI_BYTES_MAX: Final = 128
REPLAY_WINDOW_MIN: Final = 64
REPLAY_WINDOW_MAX: Final = 512
REPLAY_WINDOW: Final = 128
WITHHELD: Final = "***"
"""In place of a key that is not to be seen."""


class UnsupportedCryptoError(SdpError):
    """A crypto attribute that is well formed, and cannot be met (RFC 4568 §7.1.2)."""


class Suite(msgspec.Struct, frozen=True):
    """A crypto-suite (RFC 4568 §6.2, RFC 6188 §3, RFC 7714 §14.2)."""

    name: str
    key_bytes: int
    salt_bytes: int

    @property
    def master_bytes(self) -> int:
        return self.key_bytes + self.salt_bytes


SUITES: Final = (
    Suite("AEAD_AES_256_GCM", 32, 12),
    Suite("AEAD_AES_128_GCM", 16, 12),
    Suite("AES_256_CM_HMAC_SHA1_80", 32, 14),
    Suite("AES_CM_128_HMAC_SHA1_80", 16, 14),
    Suite("AES_256_CM_HMAC_SHA1_32", 32, 14),
    Suite("AES_CM_128_HMAC_SHA1_32", 16, 14),
)
"""In the order that they are offered."""
_BY_NAME: Final = {suite.name: suite for suite in SUITES}


class Mki(msgspec.Struct, frozen=True):
    """Master key identifier, as each packet carries it (RFC 4568 §6.1)."""

    value: int
    length: int

    @property
    def wire(self) -> bytes:
        return self.value.to_bytes(self.length)


class Crypto(msgspec.Struct, frozen=True):
    """One crypto attribute: the suite and the key that its writer sends by."""

    tag: int
    suite: str
    key: Secret
    """Master key and salt in base64."""
    lifetime: int | None = None
    """Packets; None: as many as the suite allows."""
    mki: Mki | None = None
    replay_window: int = REPLAY_WINDOW

    @property
    def master(self) -> bytes:
        """Master key, then master salt."""
        return base64.b64decode(self.key.reveal())

    def has_key_of(self, other: "Crypto | None") -> bool:
        """Whether packets are protected alike, so that counters go on (RFC 4568 §7.1.4)."""
        return other is not None and (self.suite, self.key, self.mki, self.lifetime) == (
            other.suite,
            other.key,
            other.mki,
            other.lifetime,
        )


def parse_crypto(value: str) -> Crypto:
    """Read the value of a crypto attribute (RFC 4568 §9.1)."""
    fields = value.split()
    if len(fields) < 3:
        raise SdpError("a crypto attribute has fewer than three fields")
    tag, suite_name, key_params, *session_params = fields
    if not (_is_number(tag) and len(tag) <= TAG_DIGITS_MAX):
        raise SdpError("the tag of a crypto attribute is no number")
    methods = [param.partition(":") for param in key_params.split(";")]
    if not all(colon for _, colon, _ in methods):
        raise SdpError("a key of a crypto attribute has no method")
    suite = _BY_NAME.get(suite_name)
    if suite is None:
        raise UnsupportedCryptoError("a crypto-suite that is not done", status=488)
    if len(methods) > 1 or methods[0][0].lower() != "inline":
        raise UnsupportedCryptoError("one key inline is what is done", status=488)
    key, lifetime, mki = _key_info(methods[0][2], suite)
    replay_window = _session_parameters(session_params)
    return Crypto(int(tag), suite.name, key, lifetime, mki, replay_window)


def format_crypto(crypto: Crypto) -> str:
    """The value of a crypto attribute, key and all."""
    parts = [f"inline:{crypto.key.reveal()}"]
    if crypto.lifetime is not None:
        power = crypto.lifetime.bit_length() - 1
        exact = crypto.lifetime == 1 << power
        parts.append(f"2^{power}" if exact else str(crypto.lifetime))
    if crypto.mki is not None:
        parts.append(f"{crypto.mki.value}:{crypto.mki.length}")
    window = f" WSH={crypto.replay_window}" if crypto.replay_window != REPLAY_WINDOW else ""
    return f"{crypto.tag} {crypto.suite} {'|'.join(parts)}{window}"


def cryptos_of(media: Media) -> tuple[Crypto, ...]:
    """The crypto attributes that we can do, in the order of their writer (RFC 4568 §5.1)."""
    values = [a.value or "" for a in media.attributes if a.name == CRYPTO]
    if len(values) > CRYPTOS_MAX:
        raise SdpError("too many crypto attributes", status=488)
    found: dict[int, Crypto] = {}
    for value in values:
        try:
            crypto = parse_crypto(value)
        except UnsupportedCryptoError:
            continue
        if crypto.tag in found:
            raise SdpError("two crypto attributes have one tag")
        found[crypto.tag] = crypto
    return tuple(found.values())


def is_keyed(media: Media) -> bool:
    """Whether a media description has crypto attributes, whatever they are."""
    return any(attribute.name == CRYPTO for attribute in media.attributes)


def accepted(offered: Sequence[Crypto], answered: Sequence[Crypto]) -> tuple[Crypto, Crypto]:
    """The attribute of an offer that was accepted, and the answer's own (RFC 4568 §7.1.3)."""
    if len(answered) != 1:
        raise SdpError("an answer accepts one crypto attribute", status=488)
    theirs = answered[0]
    for ours in offered:
        if (ours.tag, ours.suite) == (theirs.tag, theirs.suite):
            return ours, theirs
    raise SdpError("the answer has a crypto attribute that was not offered", status=488)


def made(tag: int, suite: str, seed: Secret, version: int) -> Crypto:
    """A key of our own for one version of a session description.

    Each version has other keys, so none is ever used for two streams of packets.
    """
    count = _BY_NAME[suite].master_bytes
    key = derive_key(seed, f"srtp {version} {tag} {suite}", count)
    return Crypto(tag, suite, Secret(base64.b64encode(key).decode()))


def offers(seed: Secret, version: int, suites: Sequence[Suite] = SUITES) -> tuple[Crypto, ...]:
    """What we offer: each suite under a tag and a key of its own (RFC 4568 §7.1.1)."""
    return tuple(
        [made(tag, suite.name, seed, version) for tag, suite in enumerate(suites, start=1)]
    )


def attributes_of(cryptos: Sequence[Crypto]) -> tuple[Attribute, ...]:
    return tuple([Attribute(CRYPTO, format_crypto(crypto)) for crypto in cryptos])


_INLINE: Final = re.compile(
    rb"^(a=crypto:[^\r\n]*?inline:)[^|; \t\r\n]*", re.IGNORECASE | re.MULTILINE
)


def without_keys(body: bytes) -> bytes:
    """A session description that may be kept or shown: its keys are withheld."""
    return _INLINE.sub(rb"\g<1>" + WITHHELD.encode(), body)


def renewed(attributes: Sequence[Attribute], seed: Secret, version: int) -> tuple[Attribute, ...]:
    """Our attributes as they were kept, with new keys in place of those that were withheld."""
    return tuple([_renewed(attribute, seed, version) for attribute in attributes])


def _renewed(attribute: Attribute, seed: Secret, version: int) -> Attribute:
    value = attribute.value or ""
    if attribute.name != CRYPTO or not value.endswith(f"inline:{WITHHELD}"):
        return attribute
    tag, suite, _ = value.split()
    return Attribute(CRYPTO, format_crypto(made(int(tag), suite, seed, version)))


def _key_info(text: str, suite: Suite) -> tuple[Secret, int | None, Mki | None]:
    """key-salt, lifetime and MKI of an inline key (RFC 4568 §6.1)."""
    key, *options = text.split("|")
    try:
        bare = key.rstrip("=")
        master = base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise SdpError("a key of a crypto attribute is not base64") from None
    if len(master) != suite.master_bytes:
        raise SdpError("a key has another length than its crypto-suite wants")
    lifetime: int | None = None
    mki: Mki | None = None
    if len(options) > 2:
        raise SdpError("a key of a crypto attribute has too many parts")
    if options and ":" not in options[0]:
        lifetime = _lifetime(options.pop(0))
    if options:
        mki = _mki(options.pop(0))
    if options:
        raise SdpError("a key has its lifetime behind its MKI")
    return Secret(base64.b64encode(master).decode()), lifetime, mki


def _lifetime(text: str) -> int:
    digits = text.removeprefix("2^")
    if not _is_number(digits) or len(digits) > 15:
        raise SdpError("the lifetime of a key is no number")
    number = int(digits)
    packets = number if digits == text else 1 << min(number, LIFETIME_BITS_MAX + 1)
    if not 0 < packets <= 1 << LIFETIME_BITS_MAX:
        raise SdpError("the lifetime of a key is out of range")
    return packets


def _mki(text: str) -> Mki:
    value, colon, length = text.partition(":")
    if not (colon and _is_number(value) and _is_number(length) and len(value) <= 310):
        raise SdpError("an MKI is malformed")
    if not 0 < _bounded(length) <= MKI_BYTES_MAX or int(value) >= 1 << 8 * int(length):
        raise SdpError("an MKI is out of range")
    return Mki(int(value), int(length))


def _session_parameters(parameters: Sequence[str]) -> int:
    """The replay window that is hinted at. All that takes protection away, or that we do not know,
    is refused, unless it may be passed over (RFC 4568 §6.3).
    """
    replay_window = REPLAY_WINDOW
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        match name.upper():
            case "KDR":
                if not _is_number(value) or _bounded(value) > 24:
                    raise SdpError("a key derivation rate is out of range")
                raise UnsupportedCryptoError("keys are derived once", status=488)
            case "WSH":
                if not _is_number(value) or _bounded(value) < REPLAY_WINDOW_MIN:
                    raise SdpError("a replay window is out of range")
                replay_window = min(_bounded(value), REPLAY_WINDOW_MAX)
            case _ if name.startswith("-"):
                continue
            case _:
                raise UnsupportedCryptoError("a session parameter that is not done", status=488)
    return replay_window


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


def _bounded(digits: str) -> int:
    return int(digits[:9])
