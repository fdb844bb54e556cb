#pragma once

#include <array>
#include <bitset>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "sip/limits.hpp"
#include "sip/message.hpp"

namespace sipfarm::sip {

/// Edits of a received message, collected and written once; what no edit touches leaves byte for byte (RFC 3261 §16.6).
/// Texts are copied. "Line text" is one or more whole header fields, each with its CRLF. Every edit answers false, and changes nothing,
/// where the bound on edits is reached or what it names is not in the message. Reusable: start() keeps the capacity.
class Rewrite {
 public:
  Rewrite() = default;
  explicit Rewrite(const Message& message) { start(message); }

  /// Forgets all edits and takes another message, which must live until write() and must have been parsed.
  void start(const Message& message) noexcept;
  void clear() noexcept;

  bool set_request_uri(std::string_view uri);
  bool set_status_line(int status, std::string_view reason);
  /// Replaces the start line (without CRLF) whatever it was.
  bool set_start_line(std::string_view text);

  bool prepend(std::string_view line_text);                         // right after the start line; several stand in the order of the calls
  bool insert_before(Header header, std::string_view line_text);    // before its first line; where there is none, at the end of the headers
  bool append(std::string_view line_text);                          // at the end of the headers
  bool erase(const Line& line);
  bool erase_all(Header header);                                    // true also where there is none
  bool replace_value(const Line& line, std::string_view value);
  /// Pops the first comma-separated value of a header, and its line when it was the only one there. Repeated calls pop on.
  bool erase_first_value(Header header);

  /// Replaces a part of the message named by a view into it, e.g. a parameter of top_via(); parts may not overlap one another.
  bool replace(std::string_view part, std::string_view text);
  /// Puts text right after a part of the message, e.g. ";received=…" after top_via().value.
  bool insert_after(std::string_view part, std::string_view text);

  /// Sets Content-Length too, adding it where it is missing.
  bool replace_body(std::string_view body);

  /// Appends the edited message to `out`.
  void write(std::string& out) const;

 private:
  struct Edit {
    std::uint32_t begin;  // the bytes of the wire that leave…
    std::uint32_t end;
    std::uint32_t text;   // …and the text in texts_ that stands there instead
    std::uint32_t size;
    std::uint8_t rank;    // among edits that begin at the same byte
  };
  struct Range {
    std::uint32_t begin;
    std::uint32_t end;
  };
  std::string_view text_of(const Edit& edit) const noexcept { return std::string_view{texts_}.substr(edit.text, edit.size); }
  bool put(Range range, std::string_view text, std::uint8_t rank = 1);
  Edit* value_edit(const Line& line) noexcept;
  std::size_t index_of(const Line& line) const noexcept;
  bool is_erased(Range range) const noexcept;
  bool range_of(std::string_view part, Range& range) const noexcept;
  bool pop_value(const Line& line, bool& popped);
  void write_headers(std::string& out) const;

  const Message* message_ = nullptr;
  std::string texts_;
  std::array<Edit, limits::rewrite_edits> edits_;  // sorted by begin, then rank, then the order of the calls
  std::size_t count_ = 0;
  std::bitset<256> erased_;                        // by line number
  std::uint32_t body_text_ = 0;
  std::uint32_t body_size_ = 0;
  bool body_replaced_ = false;
};

static_assert(limits::message_lines <= 256, "a bit for every line");

}  // namespace sipfarm::sip
