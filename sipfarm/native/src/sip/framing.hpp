#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "sip/limits.hpp"

namespace sipfarm::sip {

/// What a stream holds next.
struct Frame {
  enum class Kind : std::uint8_t {
    none,     // more bytes are needed
    message,  // `bytes` is one whole message
    crlf,     // a CRLF between messages: a pong (RFC 5626 §4.4.1), or the first half of a ping
    ping,     // the CRLF that completes a double CRLF: answer with one CRLF
    error     // the stream can no longer be split: close it. `bytes` is the header part where it is whole: a request may be answered with 400
  };
  Kind kind = Kind::none;
  std::string_view bytes;       // valid until the next call of feed() or reset()
  const char* reason = nullptr;  // of an error
};

/// Splits a byte stream into SIP messages by Content-Length (RFC 3261 §18.3). The frames do not depend on how the bytes were cut up.
/// Memory: at most one message and one feed.
class StreamFramer {
 public:
  explicit StreamFramer(std::size_t max_header_bytes = limits::header_bytes, std::size_t max_message_bytes = limits::message_bytes) noexcept
      : max_header_bytes_{max_header_bytes}, max_message_bytes_{max_message_bytes} {}

  /// Takes bytes in. After an error they are thrown away. Call next() until it says none before feeding again.
  void feed(std::string_view bytes);
  Frame next() noexcept;
  bool failed() const noexcept { return reason_ != nullptr; }
  std::size_t buffered() const noexcept { return buffer_.size() - begin_; }
  void reset() noexcept;

 private:
  Frame fail(const char* reason, std::string_view bytes = {}) noexcept;
  bool find_headers_end() noexcept;

  std::string buffer_;
  std::size_t begin_ = 0;         // first byte not handed out
  std::size_t scan_ = 0;          // where the search for the empty line goes on
  std::size_t headers_size_ = 0;  // of the message at begin_, with the empty line; 0: not yet known
  std::size_t message_size_ = 0;
  std::size_t max_header_bytes_;
  std::size_t max_message_bytes_;
  const char* reason_ = nullptr;
  bool half_ping_ = false;        // the last thing seen was a CRLF that is not part of a whole ping
};

}  // namespace sipfarm::sip
