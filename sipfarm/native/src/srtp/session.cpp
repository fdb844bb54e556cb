#include "srtp/session.hpp"

#include <nettle/memops.h>

#include <algorithm>

namespace sipfarm::srtp {
namespace {

constexpr std::size_t k_rtp_header_bytes = 12;
constexpr std::size_t k_rtcp_header_bytes = 8;  // header and SSRC are not encrypted (RFC 3711 §3.4)
constexpr std::size_t k_index_bytes = 4;
constexpr std::uint32_t k_encrypted = 0x8000'0000;  // the E bit
constexpr std::uint64_t k_rtcp_index_max = 0x7fff'ffff;

using Word = std::array<std::uint8_t, 4>;

constexpr std::uint32_t word_at(std::span<const std::uint8_t> bytes, std::size_t at) noexcept {
  return static_cast<std::uint32_t>(bytes[at]) << 24U | static_cast<std::uint32_t>(bytes[at + 1]) << 16U |
         static_cast<std::uint32_t>(bytes[at + 2]) << 8U | static_cast<std::uint32_t>(bytes[at + 3]);
}

constexpr Word word_of(std::uint32_t value) noexcept {
  return {static_cast<std::uint8_t>(value >> 24U), static_cast<std::uint8_t>(value >> 16U),
          static_cast<std::uint8_t>(value >> 8U), static_cast<std::uint8_t>(value)};
}

constexpr std::uint16_t sequence_of(std::span<const std::uint8_t> rtp) noexcept {
  return static_cast<std::uint16_t>(rtp[2] << 8U | rtp[3]);
}

/// What is not encrypted: the fixed header, the CSRCs, the extension (RFC 3550 §5.1, §5.3.1). 0: no RTP.
constexpr std::size_t rtp_header_bytes(std::span<const std::uint8_t> bytes) noexcept {
  if (bytes.size() < k_rtp_header_bytes || bytes[0] >> 6U != 2) return 0;
  std::size_t header = k_rtp_header_bytes + 4U * (bytes[0] & 0x0fU);
  if ((bytes[0] & 0x10U) != 0) {
    if (bytes.size() < header + 4) return 0;
    header += 4 + 4U * (static_cast<std::size_t>(bytes[header + 2]) << 8U | bytes[header + 3]);
  }
  return header <= bytes.size() ? header : 0;
}

constexpr bool is_rtcp(std::span<const std::uint8_t> bytes) noexcept {
  return bytes.size() >= k_rtcp_header_bytes && bytes[0] >> 6U == 2;
}

constexpr Outcome refused(Result why) noexcept { return {why, 0, false}; }

}  // namespace

/// The pieces behind the payload. An AEAD's tag belongs to its ciphertext; a MAC comes last (RFC 3711 §3.1, RFC 7714 §8.2, §9).
struct Session::Trailer {
  std::span<std::uint8_t> tag;
  std::span<std::uint8_t> index;  // of RTCP
  std::span<std::uint8_t> mki;
};

Session::Session(const Keying& keying, const SessionSettings& settings)
    : suite_{keying.suite},
      settings_{settings},
      mki_{keying.mki},
      mki_bytes_{keying.mki_bytes},
      rtp_packets_left_{std::min(keying.rtp_packets_max, k_rtp_packets_max)},
      rtcp_packets_left_{std::min(keying.rtcp_packets_max, k_rtcp_packets_max)},
      rtp_{make_transform(keying.suite, derive(keying, Protocol::rtp))},
      rtcp_{make_transform(keying.suite, derive(keying, Protocol::rtcp))} {
  settings_.replay_window = std::clamp(settings.replay_window, k_replay_window_min, k_replay_window_max);
  settings_.rocs_tried = std::max<std::uint16_t>(settings.rocs_tried, 1);
}

std::size_t Session::tag_bytes(Protocol protocol) const noexcept {
  return protocol == Protocol::rtp ? facts(suite_).rtp_tag_bytes : facts(suite_).rtcp_tag_bytes;
}

std::size_t Session::trailer_bytes(Protocol protocol) const noexcept {
  return tag_bytes(protocol) + mki_bytes_ + (protocol == Protocol::rtcp ? k_index_bytes : 0);
}

Session::Trailer Session::trailer_at(Protocol protocol, std::span<std::uint8_t> bytes) const noexcept {
  const std::size_t tag = tag_bytes(protocol);
  const std::size_t index = protocol == Protocol::rtcp ? k_index_bytes : 0;
  if (facts(suite_).aead) return {bytes.subspan(0, tag), bytes.subspan(tag, index), bytes.subspan(tag + index, mki_bytes_)};
  return {bytes.subspan(index + mki_bytes_, tag), bytes.subspan(0, index), bytes.subspan(index, mki_bytes_)};
}

Session::Source* Session::find(std::uint32_t ssrc) noexcept {
  for (std::size_t i = 0; i < sources_count_; ++i) {
    if (sources_[i].ssrc == ssrc) return &sources_[i];
  }
  return nullptr;
}

Session::Source* Session::claim(std::uint32_t ssrc) noexcept {
  if (sources_count_ == k_sources_max) return nullptr;
  Source& source = sources_[sources_count_++];
  source.ssrc = ssrc;
  return &source;
}

void Session::note_rtp(Source& source, std::uint64_t index) noexcept {
  source.rtp.note(index);
  --rtp_packets_left_;
  rollover_.store(std::uint64_t{source.ssrc} << 32U | source.rtp.highest() >> 16U, std::memory_order_relaxed);
}

std::optional<Rollover> Session::rollover() const noexcept {
  const std::uint64_t both = rollover_.load(std::memory_order_relaxed);
  if (both == k_no_rollover) return std::nullopt;
  return Rollover{static_cast<std::uint32_t>(both >> 32U), static_cast<std::uint32_t>(both)};
}

// ---- out

Outcome Session::protect(Protocol protocol, std::span<std::uint8_t> buffer, std::size_t bytes) noexcept {
  const auto packet = buffer.first(bytes);
  const std::size_t header = protocol == Protocol::rtp ? rtp_header_bytes(packet) : k_rtcp_header_bytes;
  if (header == 0 || (protocol == Protocol::rtcp && !is_rtcp(packet))) return refused(Result::malformed);
  if (buffer.size() - bytes < trailer_bytes(protocol)) return refused(Result::too_large);
  return protocol == Protocol::rtp ? protect_rtp(buffer, header, bytes) : protect_rtcp(buffer, bytes);
}

Outcome Session::protect_rtp(std::span<std::uint8_t> buffer, std::size_t header, std::size_t bytes) noexcept {
  const std::uint32_t ssrc = word_at(buffer, 8);
  Source* source = find(ssrc);
  if (source == nullptr) source = claim(ssrc);
  if (source == nullptr) return refused(Result::too_many_sources);
  const std::uint64_t index = source->rtp.begun() ? estimate_index(source->rtp.highest(), sequence_of(buffer))
                                                  : std::uint64_t{settings_.first_roc} << 16U | sequence_of(buffer);
  if (!source->rtp.is_new(index, settings_.replay_window)) return refused(Result::replayed);
  if (rtp_packets_left_ == 0 || index >= k_rtp_packets_max) return refused(Result::key_expired);
  const Word roc = word_of(static_cast<std::uint32_t>(index >> 16U));
  const Trailer trailer = trailer_at(Protocol::rtp, buffer.subspan(bytes));
  const std::span<const std::uint8_t> suffix = facts(suite_).aead ? std::span<const std::uint8_t>{} : std::span{roc};
  rtp_->seal({ssrc, index}, {buffer.first(header), buffer.first(bytes).subspan(header), suffix}, trailer.tag);
  std::ranges::copy(std::span{mki_}.first(mki_bytes_), trailer.mki.begin());
  note_rtp(*source, index);
  return {Result::ok, bytes + trailer_bytes(Protocol::rtp), true};
}

Outcome Session::protect_rtcp(std::span<std::uint8_t> buffer, std::size_t bytes) noexcept {
  const std::uint32_t ssrc = word_at(buffer, 4);
  Source* source = find(ssrc);
  if (source == nullptr) source = claim(ssrc);
  if (source == nullptr) return refused(Result::too_many_sources);
  const std::uint64_t index = source->rtcp.begun() ? source->rtcp.highest() + 1 : 0;
  if (rtcp_packets_left_ == 0 || index > k_rtcp_index_max) return refused(Result::key_expired);
  const Trailer trailer = trailer_at(Protocol::rtcp, buffer.subspan(bytes));
  std::ranges::copy(word_of(static_cast<std::uint32_t>(index) | k_encrypted), trailer.index.begin());
  std::ranges::copy(std::span{mki_}.first(mki_bytes_), trailer.mki.begin());
  const Parts parts{buffer.first(k_rtcp_header_bytes), buffer.first(bytes).subspan(k_rtcp_header_bytes), trailer.index};
  rtcp_->seal({ssrc, index}, parts, trailer.tag);
  source->rtcp.note(index);
  --rtcp_packets_left_;
  return {Result::ok, bytes + trailer_bytes(Protocol::rtcp), true};
}

// ---- in

Outcome Session::unprotect(Protocol protocol, std::span<std::uint8_t> packet) noexcept {
  if (packet.size() < trailer_bytes(protocol)) return refused(Result::malformed);
  const std::size_t bytes = packet.size() - trailer_bytes(protocol);
  const auto plain = packet.first(bytes);
  const std::size_t header = protocol == Protocol::rtp ? rtp_header_bytes(plain) : k_rtcp_header_bytes;
  if (header == 0 || (protocol == Protocol::rtcp && !is_rtcp(plain))) return refused(Result::malformed);
  const std::span<const std::uint8_t> mki = trailer_at(protocol, packet.subspan(bytes)).mki;
  if (!std::ranges::equal(mki, std::span{mki_}.first(mki_bytes_))) return refused(Result::unauthentic);
  return protocol == Protocol::rtp ? unprotect_rtp(packet, header, bytes) : unprotect_rtcp(packet, bytes);
}

bool Session::open_rtp(std::uint32_t ssrc, std::uint64_t index, const Parts& parts,
                       std::span<const std::uint8_t> tag) noexcept {
  const Word roc = word_of(static_cast<std::uint32_t>(index >> 16U));
  const std::span<const std::uint8_t> suffix = facts(suite_).aead ? std::span<const std::uint8_t>{} : std::span{roc};
  return rtp_->open({ssrc, index}, {parts.header, parts.payload, suffix}, tag);
}

Outcome Session::unprotect_rtp(std::span<std::uint8_t> packet, std::size_t header, std::size_t bytes) noexcept {
  const std::uint32_t ssrc = word_at(packet, 8);
  const std::uint16_t sequence = sequence_of(packet);
  const Parts parts{packet.first(header), packet.first(bytes).subspan(header), {}};
  const auto tag = trailer_at(Protocol::rtp, packet.subspan(bytes)).tag;
  Source* source = find(ssrc);
  if (source == nullptr && sources_count_ == k_sources_max) return refused(Result::too_many_sources);
  if (rtp_packets_left_ == 0) return refused(Result::key_expired);
  std::uint64_t index = 0;
  if (source != nullptr && source->rtp.begun()) {
    index = estimate_index(source->rtp.highest(), sequence);
    if (!source->rtp.is_new(index, settings_.replay_window)) return refused(Result::replayed);
    if (index >= k_rtp_packets_max) return refused(Result::key_expired);
    if (!open_rtp(ssrc, index, parts, tag)) return refused(Result::unauthentic);
  } else {
    std::uint32_t tried = 0;
    for (; tried < settings_.rocs_tried; ++tried) {
      index = (std::uint64_t{settings_.first_roc} + tried) << 16U | sequence;
      if (index < k_rtp_packets_max && open_rtp(ssrc, index, parts, tag)) break;
    }
    if (tried == settings_.rocs_tried) return refused(Result::unauthentic);
    if (source == nullptr) source = claim(ssrc);
  }
  const bool newest = !source->rtp.begun() || index > source->rtp.highest();
  note_rtp(*source, index);
  return {Result::ok, bytes, newest};
}

Outcome Session::unprotect_rtcp(std::span<std::uint8_t> packet, std::size_t bytes) noexcept {
  const std::uint32_t ssrc = word_at(packet, 4);
  const Trailer trailer = trailer_at(Protocol::rtcp, packet.subspan(bytes));
  const std::uint32_t word = word_at(trailer.index, 0);
  if ((word & k_encrypted) == 0) return refused(Result::unauthentic);  // UNENCRYPTED_SRTCP is never agreed to
  const std::uint64_t index = word & ~k_encrypted;
  Source* source = find(ssrc);
  if (source == nullptr && sources_count_ == k_sources_max) return refused(Result::too_many_sources);
  if (source != nullptr && !source->rtcp.is_new(index, decltype(source->rtcp)::k_size_max)) return refused(Result::replayed);
  if (rtcp_packets_left_ == 0) return refused(Result::key_expired);
  const Parts parts{packet.first(k_rtcp_header_bytes), packet.first(bytes).subspan(k_rtcp_header_bytes), trailer.index};
  if (!rtcp_->open({ssrc, index}, parts, trailer.tag)) return refused(Result::unauthentic);
  if (source == nullptr) source = claim(ssrc);
  const bool newest = !source->rtcp.begun() || index > source->rtcp.highest();
  source->rtcp.note(index);
  --rtcp_packets_left_;
  return {Result::ok, bytes, newest};
}

}  // namespace sipfarm::srtp
