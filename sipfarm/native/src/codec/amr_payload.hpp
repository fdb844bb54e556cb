#pragma once

#include <array>
#include <cstdint>
#include <optional>

#include "codec/codec.hpp"

namespace sipfarm::codec {

/// The frames of AMR and AMR-WB by their type (RFC 4867 §4.3.1; 3GPP TS 26.101 table 1b, 26.201 table 2).
struct AmrKind {
  std::array<std::uint16_t, 10> frame_bits;  // of speech by mode, then of the SID frame
  std::uint8_t modes;                        // how many of them are speech; the SID frame comes next

  constexpr bool is_mode(std::uint8_t type) const { return type < modes; }
  /// Bits of a frame; nothing where the type is reserved or of another codec.
  constexpr std::optional<std::size_t> bits_of(std::uint8_t type) const {
    if (type <= modes) return frame_bits[type];
    if (type == k_no_data || (type == k_speech_lost && modes == 9)) return 0;
    return std::nullopt;
  }

  static constexpr std::uint8_t k_speech_lost = 14;
  static constexpr std::uint8_t k_no_data = 15;
};

inline constexpr AmrKind k_amr_kind{{95, 103, 118, 134, 148, 159, 204, 244, 39, 0}, 8};
inline constexpr AmrKind k_amr_wb_kind{{132, 177, 253, 285, 317, 365, 397, 461, 477, 40}, 9};

inline constexpr std::size_t k_amr_frames_max = k_frame_ms_max / 20;
inline constexpr std::size_t k_amr_frame_bytes_max = 60;  // 477 bits
inline constexpr std::uint8_t k_amr_any_mode = 15;        // CMR: nothing is asked for

struct AmrFrame {
  std::uint8_t type = AmrKind::k_no_data;
  bool is_good = true;  // Q
  std::array<std::uint8_t, k_amr_frame_bytes_max> bits{};  // first bit first, zeros after the last
};

struct AmrPacket {
  std::uint8_t requested_mode = k_amr_any_mode;
  std::size_t count = 0;
  std::array<AmrFrame, k_amr_frames_max> frames;
};

/// The payload formats of RFC 4867 §4.3 and §4.4, without CRC, sorting or interleaving. Nothing where a payload is not one, has
/// more frames than a packet may, or ends before its frames do.
std::optional<AmrPacket> read_amr(const AmrKind& kind, bool octet_aligned, ConstPayload payload) noexcept;

/// How many frames a payload has, by its table of contents and its length; 0: it is not one.
std::size_t count_amr_frames(const AmrKind& kind, bool octet_aligned, ConstPayload payload) noexcept;

/// Bytes written; 0: there is no room.
std::size_t write_amr(const AmrKind& kind, bool octet_aligned, const AmrPacket& packet, Payload out) noexcept;

}  // namespace sipfarm::codec
