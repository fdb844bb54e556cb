#include "sip/framing.hpp"

#include <cstring>
#include <optional>

#include "sip/message.hpp"
#include "sip/text.hpp"

namespace sipfarm::sip {
namespace {

constexpr std::size_t kept_bytes = 8'192;  // the capacity that an idle stream may keep

/// The end of the line at `begin`, folds included, one past its LF. There is one.
std::size_t line_end(std::string_view headers, std::size_t begin) noexcept {
  std::size_t end = headers.find('\n', begin) + 1;
  while (end < headers.size() && (headers[end] == ' ' || headers[end] == '\t')) {
    const std::size_t newline = headers.find('\n', end);
    if (newline == std::string_view::npos) return headers.size();
    end = newline + 1;
  }
  return end;
}

struct Length {
  std::optional<std::uint32_t> value;
  const char* fault = nullptr;
};

/// The one Content-Length of a header part that ends with an empty line.
Length content_length(std::string_view headers) noexcept {
  Length length{std::nullopt, "Missing Content-Length"};
  for (std::size_t begin = headers.find('\n') + 1; begin < headers.size();) {
    const std::size_t end = line_end(headers, begin);
    const std::string_view line = headers.substr(begin, end - begin);
    begin = end;
    const std::size_t colon = line.find(':');
    if (colon == std::string_view::npos || header_of(text::trim(line.substr(0, colon))) != Header::content_length) continue;
    if (length.value) return {std::nullopt, "Repeated Content-Length"};
    length.value = text::parse_u32(text::trim(line.substr(colon + 1)));
    if (!length.value) return {std::nullopt, "Malformed Content-Length"};
    length.fault = nullptr;
  }
  return length;
}

}  // namespace

void StreamFramer::feed(std::string_view bytes) {
  if (failed()) return;
  if (begin_ == buffer_.size()) {
    if (buffer_.capacity() > kept_bytes) {
      std::string{}.swap(buffer_);
    } else {
      buffer_.clear();
    }
    begin_ = scan_ = 0;
  } else if (begin_ >= buffer_.size() - begin_) {  // no more is moved than has been handed out
    buffer_.erase(0, begin_);
    scan_ -= begin_;
    begin_ = 0;
  }
  buffer_ += bytes;
}

void StreamFramer::reset() noexcept {
  std::string{}.swap(buffer_);
  begin_ = scan_ = headers_size_ = message_size_ = 0;
  reason_ = nullptr;
  half_ping_ = false;
}

Frame StreamFramer::fail(const char* reason, std::string_view bytes) noexcept {
  reason_ = reason;
  return {Frame::Kind::error, bytes, reason};
}

/// Looks for the empty line from where the last search ended.
bool StreamFramer::find_headers_end() noexcept {
  const char* const bytes = buffer_.data();
  const std::size_t size = buffer_.size();
  while (scan_ < size) {
    const auto* newline = static_cast<const char*>(std::memchr(bytes + scan_, '\n', size - scan_));
    if (newline == nullptr) {
      scan_ = size;
      return false;
    }
    scan_ = static_cast<std::size_t>(newline - bytes);
    std::size_t next = scan_ + 1;
    if (next < size && bytes[next] == '\r') ++next;
    if (next >= size) return false;  // may yet become the empty line
    if (bytes[next] == '\n') {
      headers_size_ = next + 1 - begin_;
      return true;
    }
    ++scan_;
  }
  return false;
}

Frame StreamFramer::next() noexcept {
  if (failed()) return {Frame::Kind::error, {}, reason_};
  if (headers_size_ == 0) {
    if (scan_ == begin_) {  // between messages
      while (begin_ < buffer_.size() && buffer_[begin_] == '\n') scan_ = ++begin_;
      if (begin_ < buffer_.size() && buffer_[begin_] == '\r') {
        if (begin_ + 1 == buffer_.size()) return {};
        if (buffer_[begin_ + 1] != '\n') return fail("CR without LF");
        scan_ = begin_ += 2;
        half_ping_ = !half_ping_;
        return {half_ping_ ? Frame::Kind::crlf : Frame::Kind::ping, {}, nullptr};
      }
      if (begin_ == buffer_.size()) return {};
      half_ping_ = false;
    }
    const bool found = find_headers_end();
    if ((found ? headers_size_ : buffered()) > max_header_bytes_) return fail("Header part too large");
    if (!found) return {};
    const std::string_view headers{buffer_.data() + begin_, headers_size_};
    const Length length = content_length(headers);
    if (length.fault != nullptr) return fail(length.fault, headers);
    message_size_ = headers_size_ + *length.value;
    if (message_size_ > max_message_bytes_) return fail("Message too large", headers);
  }
  if (buffered() < message_size_) return {};
  const std::string_view message{buffer_.data() + begin_, message_size_};
  scan_ = begin_ += message_size_;
  headers_size_ = message_size_ = 0;
  return {Frame::Kind::message, message, nullptr};
}

}  // namespace sipfarm::sip
