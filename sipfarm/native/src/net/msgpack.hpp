#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sipfarm::net {

/// Writes the few msgpack types that bus frames and stored records are made of (msgpack specification, formats array, uint, str, bool and bin),
/// each in its shortest form.
class MsgpackWriter {
 public:
  explicit MsgpackWriter(std::string& out) noexcept : out_{out} {}

  void array(std::uint8_t count) { out_ += static_cast<char>(0x90 | (count & 0x0f)); }  // fixarray: up to 15
  void uint(std::uint64_t value) {
    if (value < 0x80) return put(value, 1);
    if (value <= 0xff) return tagged(0xcc, value, 1);
    if (value <= 0xffff) return tagged(0xcd, value, 2);
    if (value <= 0xffff'ffff) return tagged(0xce, value, 4);
    tagged(0xcf, value, 8);
  }
  void str(std::string_view text) {
    if (text.size() < 32) {
      put(0xa0 | text.size(), 1);
    } else if (text.size() <= 0xff) {
      tagged(0xd9, text.size(), 1);
    } else if (text.size() <= 0xffff) {
      tagged(0xda, text.size(), 2);
    } else {
      tagged(0xdb, text.size(), 4);
    }
    out_ += text;
  }
  void boolean(bool value) { put(value ? 0xc3 : 0xc2, 1); }
  void bin(std::string_view bytes) {
    if (bytes.size() <= 0xff) {
      tagged(0xc4, bytes.size(), 1);
    } else {
      tagged(0xc6, bytes.size(), 4);
    }
    out_ += bytes;
  }

 private:
  void put(std::uint64_t value, int bytes) {
    for (int shift = (bytes - 1) * 8; shift >= 0; shift -= 8) out_ += static_cast<char>(value >> shift);
  }
  void tagged(std::uint8_t tag, std::uint64_t value, int bytes) {
    out_ += static_cast<char>(tag);
    put(value, bytes);
  }

  std::string& out_;
};

/// Reads them back; any other type, and the end of the bytes, is nothing.
class MsgpackReader {
 public:
  explicit MsgpackReader(std::string_view bytes) noexcept : rest_{bytes} {}

  bool empty() const noexcept { return rest_.empty(); }
  std::optional<std::uint8_t> array() noexcept {
    if (rest_.empty() || (byte(0) & 0xf0) != 0x90) return std::nullopt;
    const auto count = static_cast<std::uint8_t>(byte(0) & 0x0f);
    rest_.remove_prefix(1);
    return count;
  }
  std::optional<std::uint64_t> uint() noexcept {
    if (rest_.empty()) return std::nullopt;
    const std::uint8_t tag = byte(0);
    rest_.remove_prefix(1);
    if (tag < 0x80) return tag;
    switch (tag) {
      case 0xcc: return take(1);
      case 0xcd: return take(2);
      case 0xce: return take(4);
      case 0xcf: return take(8);
      default: return std::nullopt;
    }
  }
  std::optional<std::string_view> bin() noexcept {
    if (rest_.empty()) return std::nullopt;
    const std::uint8_t tag = byte(0);
    rest_.remove_prefix(1);
    std::optional<std::uint64_t> size;
    if (tag == 0xc4) size = take(1);
    if (tag == 0xc5) size = take(2);
    if (tag == 0xc6) size = take(4);
    if (!size || *size > rest_.size()) return std::nullopt;
    const std::string_view bytes = rest_.substr(0, static_cast<std::size_t>(*size));
    rest_.remove_prefix(bytes.size());
    return bytes;
  }

 private:
  std::uint8_t byte(std::size_t index) const noexcept { return static_cast<std::uint8_t>(rest_[index]); }
  std::optional<std::uint64_t> take(std::size_t bytes) noexcept {
    if (rest_.size() < bytes) return std::nullopt;
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < bytes; ++i) value = value << 8 | byte(i);
    rest_.remove_prefix(bytes);
    return value;
  }

  std::string_view rest_;
};

}  // namespace sipfarm::net
