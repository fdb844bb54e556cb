#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace sipfarm::store {

/// Reads stored records: msgpack arrays of strings, integers, booleans and arrays (msgpack specification). Once something else is met than what
/// was asked for, nothing more is read and `failed` is true.
class RecordReader {
 public:
  explicit RecordReader(std::string_view bytes) noexcept : rest_{bytes} {}

  bool failed() const noexcept { return failed_; }

  /// How many values follow that belong to an array.
  std::uint32_t array() noexcept {
    const std::uint8_t tag = take_byte();
    if ((tag & 0xf0) == 0x90) return tag & 0x0f;
    if (tag == 0xdc) return static_cast<std::uint32_t>(take_number(2));
    if (tag == 0xdd) return static_cast<std::uint32_t>(take_number(4));
    return static_cast<std::uint32_t>(fail());
  }

  std::string_view str() noexcept {
    const std::uint8_t tag = take_byte();
    if ((tag & 0xe0) == 0xa0) return take(tag & 0x1f);
    if (tag == 0xd9) return take(take_number(1));
    if (tag == 0xda) return take(take_number(2));
    if (tag == 0xdb) return take(take_number(4));
    fail();
    return {};
  }

  std::int64_t integer() noexcept {
    const std::uint8_t tag = take_byte();
    if (tag < 0x80) return tag;
    const std::uint64_t number = tag >= 0xcc && tag <= 0xcf ? take_number(std::size_t{1} << (tag - 0xcc)) : fail();
    return static_cast<std::int64_t>(number <= INT64_MAX ? number : fail());
  }

  bool boolean() noexcept {
    const std::uint8_t tag = take_byte();
    if (tag == 0xc2 || tag == 0xc3) return tag == 0xc3;
    return fail() != 0;
  }

  /// Passes over one value of any kind; arrays and maps in each other up to a bound.
  void skip() noexcept { skip(depth_max); }

  /// What stands there from `begin` on, a position given by `here`.
  std::string_view since(const char* begin) const noexcept { return {begin, static_cast<std::size_t>(rest_.data() - begin)}; }
  const char* here() const noexcept { return rest_.data(); }

 private:
  static constexpr int depth_max = 4;

  std::uint64_t fail() noexcept {
    failed_ = true;
    rest_.remove_prefix(rest_.size());
    return 0;
  }
  std::string_view take(std::uint64_t count) noexcept {
    if (count > rest_.size()) {
      fail();
      return {};
    }
    const std::string_view taken = rest_.substr(0, static_cast<std::size_t>(count));
    rest_.remove_prefix(taken.size());
    return taken;
  }
  std::uint8_t take_byte() noexcept {
    const std::string_view byte = take(1);
    return byte.empty() ? std::uint8_t{0xc1} : static_cast<std::uint8_t>(byte[0]);  // 0xc1 begins nothing
  }
  std::uint64_t take_number(std::size_t bytes) noexcept {
    std::uint64_t number = 0;
    for (const char c : take(bytes)) number = number << 8 | static_cast<std::uint8_t>(c);
    return number;
  }
  void skip(int depth) noexcept {
    if (rest_.empty() || depth == 0) {
      fail();
      return;
    }
    const auto tag = static_cast<std::uint8_t>(rest_[0]);
    if ((tag & 0xf0) == 0x90 || tag == 0xdc || tag == 0xdd) return skip_values(array(), depth - 1);
    if ((tag & 0xe0) == 0xa0 || (tag >= 0xd9 && tag <= 0xdb)) return static_cast<void>(str());
    take(1);
    if (tag < 0x80 || tag >= 0xe0 || tag == 0xc0 || tag == 0xc2 || tag == 0xc3) return;
    if ((tag & 0xf0) == 0x80) return skip_values(std::uint64_t{2} * (tag & 0x0f), depth - 1);
    switch (tag) {
      case 0xc4: case 0xc5: case 0xc6: take(take_number(std::size_t{1} << (tag - 0xc4))); break;              // bin
      case 0xca: case 0xcb: take(std::size_t{4} << (tag - 0xca)); break;                                      // float
      case 0xcc: case 0xcd: case 0xce: case 0xcf: take(std::size_t{1} << (tag - 0xcc)); break;                // uint
      case 0xd0: case 0xd1: case 0xd2: case 0xd3: take(std::size_t{1} << (tag - 0xd0)); break;                // int
      case 0xde: case 0xdf: skip_values(2 * take_number(std::size_t{2} << (tag - 0xde)), depth - 1); break;   // map
      default: fail();
    }
  }
  void skip_values(std::uint64_t count, int depth) noexcept {
    for (; count > 0 && !failed_; --count) skip(depth);
  }

  std::string_view rest_;
  bool failed_ = false;
};

}  // namespace sipfarm::store
