"""Format parameters: what an fmtp line says, what to answer to it, what the plane makes of it.

RFC 7587 §6.1, 4867 §8.1, 4856 §2.1.9, 5574 §3.1, 4733 §2.4.1. Reading never fails: a parameter
that is unknown, malformed or out of range counts as absent. Of a parameter given twice the first
counts.
"""

import re
from itertools import pairwise
from typing import Final, Literal

import msgspec

from sipfarm.media.codecs import Codec
from sipfarm.native import CodecFormat

BITRATE_MIN, BITRATE_MAX = 6_000, 510_000  # RFC 7587 §6.1
EVENT_MAX: Final = 255


class NoParameters(msgspec.Struct, frozen=True):
    """A codec of which an fmtp says nothing."""


class OpusParameters(msgspec.Struct, frozen=True):
    """RFC 7587 §6.1: what its writer wants to receive; `sprop_`: what it is likely to send."""

    max_playback_rate_hz: int = 48_000
    sprop_max_capture_rate_hz: int = 48_000
    max_average_bitrate: int | None = None
    min_ptime_ms: int = 3
    stereo: bool = False
    sprop_stereo: bool = False
    cbr: bool = False
    fec: bool = False
    dtx: bool = False


class AmrParameters(msgspec.Struct, frozen=True):
    """RFC 4867 §8.1, §8.2; `mode_set` in order, None: all modes."""

    octet_aligned: bool = False
    mode_set: tuple[int, ...] | None = None
    mode_change_period: int = 1
    mode_change_capability: int = 1
    mode_change_neighbor: bool = False
    max_red_ms: int | None = None
    crc: bool = False
    robust_sorting: bool = False
    interleaving: int | None = None

    @property
    def is_plain(self) -> bool:
        """Whether payloads hold frames and nothing else, the only form that we do."""
        return not (self.crc or self.robust_sorting or self.interleaving is not None)


class G729Parameters(msgspec.Struct, frozen=True):
    """RFC 4856 §2.1.9."""

    annexb: bool = True


class SpeexParameters(msgspec.Struct, frozen=True):
    """RFC 5574 §3.1; `mode`: the first that is asked for, None: any."""

    mode: int | None = None
    vbr: Literal["off", "on", "vad"] = "off"
    cng: bool = False


class TelephoneEventParameters(msgspec.Struct, frozen=True):
    """The events that its writer can receive (RFC 4733 §2.4.1)."""

    events: frozenset[int] = frozenset(range(16))


Parameters = (
    NoParameters
    | OpusParameters
    | AmrParameters
    | G729Parameters
    | SpeexParameters
    | TelephoneEventParameters
)


def parse_fmtp(codec: Codec, text: str | None) -> Parameters:
    """What an fmtp says after the payload type; None: there is no such line."""
    values = _values(text or "")
    match codec.name.lower():
        case "opus":
            return _opus(values)
        case "amr":
            return _amr(values, mode_max=7)
        case "amr-wb":
            return _amr(values, mode_max=8)
        case "g729":
            return G729Parameters(annexb=values.get("annexb", "").lower() != "no")
        case "speex":
            return _speex(values, range(1, 9) if codec.clock_rate_hz == 8_000 else range(11))
        case "telephone-event":
            return _telephone_events(text or "")
        case _:
            return NoParameters()


def format_fmtp(parameters: Parameters) -> str:
    """The value of an fmtp line after the payload type; "": no line is needed."""
    match parameters:
        case OpusParameters():
            return _joined(
                ("maxplaybackrate", _unless(parameters.max_playback_rate_hz, 48_000)),
                ("sprop-maxcapturerate", _unless(parameters.sprop_max_capture_rate_hz, 48_000)),
                ("maxaveragebitrate", parameters.max_average_bitrate),
                ("minptime", _unless(parameters.min_ptime_ms, 3)),
                ("stereo", _unless(int(parameters.stereo), 0)),
                ("sprop-stereo", _unless(int(parameters.sprop_stereo), 0)),
                ("cbr", _unless(int(parameters.cbr), 0)),
                ("useinbandfec", _unless(int(parameters.fec), 0)),
                ("usedtx", _unless(int(parameters.dtx), 0)),
            )
        case AmrParameters():
            modes = parameters.mode_set
            return _joined(
                ("octet-align", _unless(int(parameters.octet_aligned), 0)),
                ("mode-set", None if modes is None else ",".join(map(str, modes))),
                ("mode-change-period", _unless(parameters.mode_change_period, 1)),
                ("mode-change-capability", _unless(parameters.mode_change_capability, 1)),
                ("mode-change-neighbor", _unless(int(parameters.mode_change_neighbor), 0)),
                ("max-red", parameters.max_red_ms),
                ("crc", _unless(int(parameters.crc), 0)),
                ("robust-sorting", _unless(int(parameters.robust_sorting), 0)),
                ("interleaving", parameters.interleaving),
            )
        case G729Parameters():
            return "" if parameters.annexb else "annexb=no"
        case SpeexParameters():
            mode = parameters.mode
            return _joined(
                ("mode", None if mode is None else f'"{mode},any"'),
                ("vbr", _unless(parameters.vbr, "off")),
                ("cng", "on" if parameters.cng else None),
            )
        case TelephoneEventParameters():
            return _ranges(parameters.events)
        case NoParameters():
            return ""


def answer_fmtp(offered: Parameters, ours: Parameters) -> Parameters | None:
    """The parameters of the same format in our answer; None: it is to be left out of it.

    AMR: octet alignment has to match and a mode-set comes back as it was offered, if we share a
    mode of it (RFC 4867 §8.3.1). G.729: annexb=no wins (RFC 7261 §3). Opus and Speex say what each
    side wants to receive, so the answer is ours (RFC 7587 §7.1).
    """
    agreed = steer(ours, offered)
    if agreed is None:
        return None
    if isinstance(agreed, AmrParameters) and isinstance(offered, AmrParameters):
        kept = agreed.mode_set if offered.mode_set is None else offered.mode_set
        return msgspec.structs.replace(agreed, mode_set=kept)
    return ours if isinstance(agreed, OpusParameters | SpeexParameters) else agreed


def steer(ours: Parameters, theirs: Parameters) -> Parameters | None:
    """What our encoder keeps to: the far end's wishes within our bounds; None: that cannot be.

    It makes no difference whose was the offer.
    """
    match ours, theirs:
        case OpusParameters(), OpusParameters():
            rates = [p.max_average_bitrate for p in (ours, theirs)]
            return msgspec.structs.replace(
                theirs, max_average_bitrate=min((r for r in rates if r is not None), default=None)
            )
        case AmrParameters(), AmrParameters():
            return _steered_amr(ours, theirs)
        case G729Parameters(), G729Parameters():
            return G729Parameters(annexb=ours.annexb and theirs.annexb)
        case SpeexParameters(), SpeexParameters():
            return theirs
        case TelephoneEventParameters(), TelephoneEventParameters():
            both = ours.events & theirs.events
            return TelephoneEventParameters(both) if both else None
        case NoParameters(), NoParameters():
            return ours
        case _:
            return None


def coding_format(
    codec: Codec,
    parameters: Parameters,
    sample_rate_hz: int | None = None,
    *,
    silence_suppression: bool = False,
) -> CodecFormat | None:
    """What the plane is told to code; None: it has no such codec, or this build has it not.

    `parameters`: for an encoder what `steer` gave, for a decoder ours. `sample_rate_hz`: of the
    PCM, where it is not the codec's own. Silence is only ever left out where the far end allows.
    """
    rate_hz = codec.sample_rate_hz if sample_rate_hz is None else sample_rate_hz
    clock_rate_hz, channels = codec.clock_rate_hz, codec.channels
    try:
        match parameters:
            case OpusParameters():
                made = CodecFormat(
                    codec.name,
                    clock_rate_hz,
                    rate_hz,
                    channels=channels,
                    bitrate=parameters.max_average_bitrate or 0,
                    max_playback_rate_hz=parameters.max_playback_rate_hz,
                    fec=parameters.fec,
                    dtx=parameters.dtx,
                    cbr=parameters.cbr,
                    stereo=parameters.stereo,
                )
            case AmrParameters():
                made = CodecFormat(
                    codec.name,
                    clock_rate_hz,
                    rate_hz,
                    channels=channels,
                    mode_set=sum(1 << mode for mode in parameters.mode_set or ()),
                    octet_aligned=parameters.octet_aligned,
                    dtx=silence_suppression,
                )
            case G729Parameters():
                dtx = silence_suppression and parameters.annexb
                made = CodecFormat(
                    codec.name, clock_rate_hz, rate_hz, dtx=dtx, annexb=parameters.annexb
                )
            case SpeexParameters():
                made = CodecFormat(
                    codec.name,
                    clock_rate_hz,
                    rate_hz,
                    channels=channels,
                    mode=parameters.mode,
                    dtx=silence_suppression and parameters.cng,
                    vbr=parameters.vbr == "on",
                )
            case NoParameters():
                made = CodecFormat(codec.name, clock_rate_hz, rate_hz, channels=channels)
            case TelephoneEventParameters():
                return None
    except ValueError:
        return None  # a name that the plane does not know
    return made if made.objection is None else None


def _values(text: str) -> dict[str, str]:
    """Parameters by their lower-case names; blanks and quotes in odd places do not matter."""
    found: dict[str, str] = {}
    for field in re.split(r"[;\s]+", re.sub(r"\s*([=,])\s*", r"\1", text)):
        name, equals, value = field.partition("=")
        if name and equals:
            found.setdefault(name.lower(), value.strip("\"'"))
    return found


def _number(values: dict[str, str], name: str, allowed: range) -> int | None:
    text = values.get(name, "")
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        return None
    return int(text) if int(text) in allowed else None


def _flag(values: dict[str, str], name: str) -> bool:
    return _number(values, name, range(2)) == 1


def _opus(values: dict[str, str]) -> OpusParameters:
    rates = range(8_000, 48_001)
    return OpusParameters(
        max_playback_rate_hz=_number(values, "maxplaybackrate", rates) or 48_000,
        sprop_max_capture_rate_hz=_number(values, "sprop-maxcapturerate", rates) or 48_000,
        max_average_bitrate=_number(
            values, "maxaveragebitrate", range(BITRATE_MIN, BITRATE_MAX + 1)
        ),
        min_ptime_ms=_number(values, "minptime", range(3, 121)) or 3,
        stereo=_flag(values, "stereo"),
        sprop_stereo=_flag(values, "sprop-stereo"),
        cbr=_flag(values, "cbr"),
        fec=_flag(values, "useinbandfec"),
        dtx=_flag(values, "usedtx"),
    )


def _amr(values: dict[str, str], mode_max: int) -> AmrParameters:
    crc, robust_sorting = _flag(values, "crc"), _flag(values, "robust-sorting")
    interleaving = _number(values, "interleaving", range(1, 10_000))
    modes = values.get("mode-set", "").split(",")
    known = sorted({int(m) for m in modes if len(m) == 1 and m in "012345678"[: mode_max + 1]})
    return AmrParameters(
        # RFC 4867 §8.1: each of these three takes octet alignment for granted.
        octet_aligned=_flag(values, "octet-align")
        or crc
        or robust_sorting
        or interleaving is not None,
        mode_set=tuple(known) or None,
        mode_change_period=_number(values, "mode-change-period", range(1, 3)) or 1,
        mode_change_capability=_number(values, "mode-change-capability", range(1, 3)) or 1,
        mode_change_neighbor=_flag(values, "mode-change-neighbor"),
        max_red_ms=_number(values, "max-red", range(65_536)),
        crc=crc,
        robust_sorting=robust_sorting,
        interleaving=interleaving,
    )


def _steered_amr(ours: AmrParameters, theirs: AmrParameters) -> AmrParameters | None:
    if ours.octet_aligned != theirs.octet_aligned or not (ours.is_plain and theirs.is_plain):
        return None
    if ours.mode_set is None or theirs.mode_set is None:
        kept = ours.mode_set or theirs.mode_set
    else:
        kept = tuple(mode for mode in ours.mode_set if mode in theirs.mode_set)
    return None if kept == () else msgspec.structs.replace(ours, mode_set=kept)


def _speex(values: dict[str, str], modes: range) -> SpeexParameters:
    asked = (_number({"mode": text}, "mode", modes) for text in values.get("mode", "").split(","))
    vbr = values.get("vbr", "").lower()
    return SpeexParameters(
        mode=next((mode for mode in asked if mode is not None), None),
        vbr="on" if vbr == "on" else "vad" if vbr == "vad" else "off",
        cng=values.get("cng", "").lower() == "on",
    )


def _telephone_events(text: str) -> TelephoneEventParameters:
    """A list of numbers and ranges; some phones write it as `events=0-15`."""
    events: set[int] = set()
    for item in text.rpartition("=")[2].replace(" ", "").split(","):
        first, dash, last = item.partition("-")
        ends = [first, last if dash else first]
        if all(end.isascii() and end.isdigit() and len(end) <= 3 for end in ends):
            events.update(range(int(ends[0]), min(int(ends[1]), EVENT_MAX) + 1))
    return TelephoneEventParameters(frozenset(events)) if events else TelephoneEventParameters()


def _ranges(events: frozenset[int]) -> str:
    ordered = sorted(events)
    breaks = [b for a, b in pairwise(ordered) if b != a + 1]
    starts = [*ordered[:1], *breaks]
    ends = [*(a for a, b in pairwise(ordered) if b != a + 1), *ordered[-1:]]
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))


def _unless(value: int | str, default: int | str) -> int | str | None:
    return None if value == default else value


def _joined(*pairs: tuple[str, int | str | None]) -> str:
    return ";".join(f"{name}={value}" for name, value in pairs if value is not None)
