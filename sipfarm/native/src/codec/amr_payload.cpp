#include "codec/amr_payload.hpp"

#include <algorithm>

namespace sipfarm::codec {

namespace {

class BitReader {
 public:
  explicit BitReader(ConstPayload bytes) noexcept : bytes_{bytes} {}
  std::size_t left() const noexcept { return bytes_.size() * 8 - at_; }

  /// At most eight, all of them there.
  std::uint8_t read(std::size_t count) noexcept {
    const std::size_t byte = at_ / 8;
    const unsigned window = static_cast<unsigned>(bytes_[byte]) << 8 | (byte + 1 < bytes_.size() ? bytes_[byte + 1] : 0U);
    const unsigned bits = window >> (16 - at_ % 8 - count) & ((1U << count) - 1);
    at_ += count;
    return static_cast<std::uint8_t>(bits);
  }

  void read(std::size_t count, std::uint8_t* to) noexcept {
    for (; count >= 8; count -= 8) *to++ = read(8);
    if (count != 0) *to = static_cast<std::uint8_t>(read(count) << (8 - count));
  }

  void align() noexcept { at_ = (at_ + 7) / 8 * 8; }

 private:
  ConstPayload bytes_;
  std::size_t at_ = 0;
};

class BitWriter {
 public:
  explicit BitWriter(Payload bytes) noexcept : bytes_{bytes} {}

  /// At most eight; there is room.
  void write(unsigned bits, std::size_t count) noexcept {
    const std::size_t used = at_ % 8;
    if (used == 0) bytes_[at_ / 8] = 0;
    const unsigned window = bits << (16 - used - count);
    bytes_[at_ / 8] = static_cast<std::uint8_t>(bytes_[at_ / 8] | window >> 8);
    if (used + count > 8) bytes_[at_ / 8 + 1] = static_cast<std::uint8_t>(window);
    at_ += count;
  }

  void write(const std::uint8_t* from, std::size_t count) noexcept {
    for (; count >= 8; count -= 8) write(*from++, 8);
    if (count != 0) write(static_cast<unsigned>(*from) >> (8 - count), count);
  }

  void align() noexcept {
    if (at_ % 8 != 0) write(0U, 8 - at_ % 8);
  }

  std::size_t bytes() const noexcept { return (at_ + 7) / 8; }

 private:
  Payload bytes_;
  std::size_t at_ = 0;
};

struct Entry {
  std::uint8_t type;
  bool is_good;
};

struct Contents {
  std::uint8_t requested_mode = k_amr_any_mode;
  std::size_t count = 0;
  std::array<Entry, k_amr_frames_max> entries;
};

/// CMR and table of contents; the reader stands at the first frame after it. Nothing unless all frames are there.
std::optional<Contents> read_contents(const AmrKind& kind, bool octet_aligned, BitReader& reader) noexcept {
  const std::size_t entry_bits = octet_aligned ? 8 : 6;
  Contents contents;
  if (reader.left() < (octet_aligned ? 8U : 4U)) return std::nullopt;
  contents.requested_mode = reader.read(4);
  if (octet_aligned) reader.align();
  std::size_t needed = 0;
  for (bool follows = true; follows;) {
    if (contents.count == k_amr_frames_max || reader.left() < entry_bits) return std::nullopt;
    follows = reader.read(1) != 0;
    const std::uint8_t type = reader.read(4);
    const bool is_good = reader.read(1) != 0;
    if (octet_aligned) reader.align();
    const auto bits = kind.bits_of(type);
    if (!bits) return std::nullopt;
    needed += octet_aligned ? (*bits + 7) / 8 * 8 : *bits;
    contents.entries[contents.count++] = {type, is_good};
  }
  if (needed > reader.left()) return std::nullopt;
  return contents;
}

}  // namespace

std::optional<AmrPacket> read_amr(const AmrKind& kind, bool octet_aligned, ConstPayload payload) noexcept {
  BitReader reader{payload};
  const auto contents = read_contents(kind, octet_aligned, reader);
  if (!contents) return std::nullopt;
  AmrPacket packet;
  packet.requested_mode = contents->requested_mode;
  packet.count = contents->count;
  for (std::size_t i = 0; i < packet.count; ++i) {
    AmrFrame& frame = packet.frames[i];
    frame.type = contents->entries[i].type;
    frame.is_good = contents->entries[i].is_good;
    reader.read(*kind.bits_of(frame.type), frame.bits.data());
    if (octet_aligned) reader.align();
  }
  return packet;
}

std::size_t count_amr_frames(const AmrKind& kind, bool octet_aligned, ConstPayload payload) noexcept {
  BitReader reader{payload};
  const auto contents = read_contents(kind, octet_aligned, reader);
  return contents ? contents->count : 0;
}

std::size_t write_amr(const AmrKind& kind, bool octet_aligned, const AmrPacket& packet, Payload out) noexcept {
  if (out.size() < 1 + packet.count * (1 + k_amr_frame_bytes_max)) return 0;
  BitWriter writer{out};
  writer.write(packet.requested_mode, 4);
  if (octet_aligned) writer.align();
  for (std::size_t i = 0; i < packet.count; ++i) {
    const AmrFrame& frame = packet.frames[i];
    writer.write(i + 1 < packet.count ? 1 : 0, 1);
    writer.write(frame.type, 4);
    writer.write(frame.is_good ? 1 : 0, 1);
    if (octet_aligned) writer.align();
  }
  for (std::size_t i = 0; i < packet.count; ++i) {
    const AmrFrame& frame = packet.frames[i];
    writer.write(frame.bits.data(), *kind.bits_of(frame.type));
    if (octet_aligned) writer.align();
  }
  return writer.bytes();
}

}  // namespace sipfarm::codec
