"""Silence that is not sent, and what AMR and G.729 say in their payloads beside speech."""

import numpy as np
import pytest

from sipfarm.native import CodecDecoder, CodecEncoder, CodecFormat
from tests.media.signals import Samples, heard, level, packets, speech, tone


def amr(
    *, wide: bool, octet_aligned: bool = False, modes: int = 0, dtx: bool = False
) -> CodecFormat:
    rate_hz = 16_000 if wide else 8_000
    return CodecFormat(
        "AMR-WB" if wide else "AMR",
        rate_hz,
        rate_hz,
        octet_aligned=octet_aligned,
        mode_set=modes,
        dtx=dtx,
    )


FRAME_BITS = {
    False: (95, 103, 118, 134, 148, 159, 204, 244),
    True: (132, 177, 253, 285, 317, 365, 397, 461, 477),
}
SID_BITS = {False: 39, True: 40}
G729_DTX = CodecFormat("G729", 8_000, 8_000, dtx=True)


def bits_of(payload: bytes) -> str:
    return "".join(f"{byte:08b}" for byte in payload)


def types_of(payload: bytes, *, octet_aligned: bool) -> list[int]:
    """Frame types by the table of contents (RFC 4867 §4.3.2, §4.4.2), read another way."""
    bits, types = bits_of(payload), list[int]()
    at, step = (8, 8) if octet_aligned else (4, 6)
    while True:
        types.append(int(bits[at + 1 : at + 5], 2))
        if bits[at] == "0":
            return types
        at += step


def with_pause(rate_hz: int) -> Samples:
    """A second of speech, three of faint noise, another of speech."""
    draw = np.random.default_rng(4)
    noise = draw.normal(0, 20, 3 * rate_hz).astype(np.int16)
    return np.concatenate([speech(rate_hz, 1), noise, speech(rate_hz, 1)])


@pytest.mark.parametrize("octet_aligned", [False, True])
@pytest.mark.parametrize("wide", [False, True])
def test_each_mode_of_amr_has_its_frame_in_the_payload(wide: bool, octet_aligned: bool) -> None:
    rate_hz = 16_000 if wide else 8_000
    for mode, size in enumerate(FRAME_BITS[wide]):
        coding = amr(wide=wide, octet_aligned=octet_aligned, modes=1 << mode)
        for frames in (1, 3):
            payload = packets(CodecEncoder(coding), speech(rate_hz, 0.3), rate_hz, 20 * frames)[-1]
            assert types_of(payload, octet_aligned=octet_aligned) == [mode] * frames
            whole = 1 + frames + frames * ((size + 7) // 8)
            packed = (4 + frames * (6 + size) + 7) // 8
            assert len(payload) == (whole if octet_aligned else packed)
            assert bits_of(payload).startswith("1111")  # CMR: we ask for nothing


@pytest.mark.parametrize("wide", [False, True])
def test_both_payload_formats_of_amr_carry_the_same_speech(wide: bool) -> None:
    rate_hz = 16_000 if wide else 8_000
    pcm = speech(rate_hz, 0.6)
    out: list[bytes] = []
    for octet_aligned in (False, True):
        coding = amr(wide=wide, octet_aligned=octet_aligned)
        decoder = CodecDecoder(coding)
        sent = packets(CodecEncoder(coding), pcm, rate_hz, 60)
        out.append(b"".join(decoder.decode(payload) for payload in sent))
    assert out[0] == out[1]


def test_our_encoder_follows_a_mode_request_within_the_mode_set() -> None:
    coding = amr(wide=False, modes=0b10010101)  # 0, 2, 4, 7
    encoder = CodecEncoder(coding)
    pcm = speech(8_000, 0.02).tobytes()

    def mode() -> int:
        return types_of(encoder.encode(pcm), octet_aligned=False)[0]

    assert mode() == 7
    for asked, sent in ((4, 4), (6, 4), (1, 0), (7, 7), (3, 2), (15, 2), (255, 2)):
        encoder.request_mode(asked)
        assert mode() == sent
    highest = CodecEncoder(amr(wide=False, modes=0b10100000))
    highest.request_mode(2)
    assert types_of(highest.encode(pcm), octet_aligned=False) == [5]  # nothing so low is allowed


@pytest.mark.parametrize(("cmr", "asked"), [(0, 0), (7, 7), (8, None), (15, None)])
def test_a_mode_request_in_a_payload_is_told(cmr: int, asked: int | None) -> None:
    coding = amr(wide=False, octet_aligned=True)
    payload = CodecEncoder(coding).encode(speech(8_000, 0.02).tobytes())
    decoder = CodecDecoder(coding)
    assert decoder.requested_mode is None
    assert decoder.decode(bytes([cmr << 4]) + payload[1:])
    assert decoder.requested_mode == asked


@pytest.mark.parametrize("wide", [False, True])
def test_a_damaged_frame_of_amr_is_concealed_and_not_heard(wide: bool) -> None:
    rate_hz = 16_000 if wide else 8_000
    coding = amr(wide=wide, octet_aligned=True)
    one, other = CodecDecoder(coding), CodecDecoder(coding)
    sent = packets(CodecEncoder(coding), speech(rate_hz, 0.6), rate_hz)
    for payload in sent[:20]:
        one.decode(payload)
        other.decode(payload)
    damaged = bytes([sent[20][0], sent[20][1] & ~0x04]) + bytes(len(sent[20]) - 2)
    assert one.decode(damaged) == other.conceal(rate_hz // 50)


@pytest.mark.parametrize("octet_aligned", [False, True])
@pytest.mark.parametrize("wide", [False, True])
def test_amr_sends_sid_frames_in_a_pause_and_nothing_between(
    wide: bool, octet_aligned: bool
) -> None:
    rate_hz = 16_000 if wide else 8_000
    coding = amr(wide=wide, octet_aligned=octet_aligned, dtx=True)
    sid = 9 if wide else 8
    sent = packets(CodecEncoder(coding), with_pause(rate_hz), rate_hz)
    pause = sent[100:195]
    sids = [payload for payload in pause if payload]
    assert 8 <= len(sids) <= 20  # one in eight frames
    assert {t for p in sids for t in types_of(p, octet_aligned=octet_aligned)} == {sid}
    size = 2 + 5 if octet_aligned else (4 + 6 + SID_BITS[wide] + 7) // 8
    assert {len(payload) for payload in sids} == {size}
    assert all(sent[5:40])
    assert all(sent[205:240])


@pytest.mark.parametrize("frames", [2, 3])
def test_amr_packets_of_several_frames_mark_what_is_not_there(frames: int) -> None:
    coding = amr(wide=False, dtx=True)
    decoder = CodecDecoder(coding)
    sent = packets(CodecEncoder(coding), with_pause(8_000), 8_000, 20 * frames)
    assert any(not payload for payload in sent)
    kinds = {tuple(types_of(p, octet_aligned=False)) for p in sent if p}
    assert any(8 in kind and 15 in kind for kind in kinds)
    for payload in sent:
        assert decoder.duration(payload) in {0, 160 * frames}
        assert bool(decoder.decode(payload)) == bool(payload)


SUPPRESSING = [
    pytest.param(G729_DTX, id="G729"),
    pytest.param(amr(wide=False, dtx=True), id="AMR"),
    pytest.param(amr(wide=True, dtx=True), id="AMR-WB"),
    pytest.param(CodecFormat("opus", 48_000, 16_000, channels=2, dtx=True), id="opus"),
    pytest.param(CodecFormat("opus", 48_000, 48_000, channels=2, dtx=True), id="opus at 48k"),
    pytest.param(CodecFormat("speex", 8_000, 8_000, dtx=True), id="speex"),
]


@pytest.mark.parametrize("coding", SUPPRESSING)
def test_a_pause_costs_little_and_is_heard_as_one(coding: CodecFormat) -> None:
    rate_hz = coding.sample_rate_hz
    pcm = with_pause(rate_hz)
    sent = packets(CodecEncoder(coding), pcm, rate_hz)
    assert sum(map(bool, sent[120:198])) < 30
    decoder = CodecDecoder(coding)
    out = [heard(decoder.decode(p) if p else decoder.conceal(rate_hz // 50)) for p in sent]
    pause = np.concatenate(out[120:198])
    assert 1 < level(pause) < 100  # noise as there was, neither dead nor loud
    spoken = np.concatenate(out[205:248])
    assert level(spoken) > 0.7 * level(pcm[205 * rate_hz // 50 : 248 * rate_hz // 50])


@pytest.mark.parametrize("coding", SUPPRESSING)
def test_without_dtx_all_is_sent(coding: CodecFormat) -> None:
    rate_hz = coding.sample_rate_hz
    plain = CodecFormat(coding.name, coding.clock_rate_hz, rate_hz, channels=coding.channels)
    assert all(packets(CodecEncoder(plain), with_pause(rate_hz), rate_hz))


@pytest.mark.parametrize("ptime_ms", [10, 20, 30, 60])
def test_a_packet_of_g729_says_where_its_speech_begins(ptime_ms: int) -> None:
    """Frames in a row, then at most one SID frame (RFC 3551 §4.5.6); what is skipped is counted."""
    encoder, decoder = CodecEncoder(G729_DTX), CodecDecoder(G729_DTX)
    pcm = with_pause(8_000)
    size = 8 * ptime_ms
    seen: set[int] = set()
    for at in range(0, len(pcm) // size * size, size):
        payload = encoder.encode(pcm[at : at + size].tobytes())
        seen.add(len(payload))
        assert len(payload) % 10 in {0, 2}
        assert encoder.skipped % 80 == 0
        assert decoder.duration(payload) + encoder.skipped <= size
        if len(payload) % 10 == 0 and payload:
            assert not encoder.skipped or decoder.duration(payload) + encoder.skipped == size
    assert {0, ptime_ms} <= seen
    assert any(size % 10 == 2 for size in seen)


def test_annexb_no_keeps_g729_from_sending_sid_frames() -> None:
    coding = CodecFormat("G729", 8_000, 8_000, dtx=True, annexb=False)
    assert {len(p) for p in packets(CodecEncoder(coding), with_pause(8_000), 8_000)} == {20}


def test_a_gap_after_a_sid_frame_of_g729_is_noise_and_not_a_loss() -> None:
    decoder = CodecDecoder(G729_DTX)
    sent = packets(CodecEncoder(G729_DTX), with_pause(8_000), 8_000)
    for payload in sent[:120]:
        decoder.decode(payload) if payload else decoder.conceal(160)
    noise = heard(decoder.conceal(16_000))
    halves = level(noise[4_000:10_000]), level(noise[10_000:])
    assert halves[1] == pytest.approx(halves[0], rel=0.2)  # it goes on and does not fade
    assert halves[1] > 1


def test_a_tone_at_the_edge_of_speech_is_not_cut_off_by_dtx() -> None:
    pcm = tone(8_000, 440, 1, 3_000)
    assert all(packets(CodecEncoder(amr(wide=False, dtx=True)), pcm, 8_000))


@pytest.mark.parametrize("wide", [False, True])
def test_before_the_first_speech_amr_is_silent(wide: bool) -> None:
    """The library's memory of what came before is not initialised then."""
    rate_hz = 16_000 if wide else 8_000
    coding = amr(wide=wide, dtx=True)
    sent = packets(CodecEncoder(coding), with_pause(rate_hz), rate_hz)
    sid = next(payload for payload in sent[100:] if payload)
    decoder = CodecDecoder(coding)
    assert not any(decoder.conceal(1_000))
    assert not any(decoder.decode(sid))
    assert any(decoder.decode(sent[10]))
    assert any(decoder.decode(sid))
