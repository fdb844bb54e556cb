#include "sip/rewrite.hpp"

#include <algorithm>
#include <charconv>

#include "sip/headers.hpp"
#include "sip/text.hpp"

namespace sipfarm::sip {
namespace {

std::uint32_t offset(const Message& message, std::string_view part) noexcept {
  return static_cast<std::uint32_t>(part.data() - message.wire().data());
}

std::uint32_t headers_begin(const Message& message) noexcept {
  const std::string_view wire = message.wire();
  std::size_t begin = message.start_line().size();
  if (begin < wire.size() && wire[begin] == '\r') ++begin;
  return static_cast<std::uint32_t>(begin + 1);
}

void append_number(std::string& out, std::size_t number) {
  std::array<char, 24> digits{};
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr;
  out.append(digits.data(), end);
}

}  // namespace

void Rewrite::start(const Message& message) noexcept {
  message_ = &message;
  clear();
}

void Rewrite::clear() noexcept {
  texts_.clear();
  count_ = 0;
  erased_.reset();
  body_text_ = body_size_ = 0;
  body_replaced_ = false;
}

/// Notes an edit in its place. The same range again takes the new text; ranges that overlap otherwise are refused.
bool Rewrite::put(Range range, std::string_view text, std::uint8_t rank) {
  if (is_erased(range)) return false;
  std::size_t place = count_;
  for (std::size_t i = 0; i < count_; ++i) {
    Edit& edit = edits_[i];
    const bool replacement = range.end > range.begin;
    if (replacement && edit.begin == range.begin && edit.end == range.end) {
      edit.text = static_cast<std::uint32_t>(texts_.size());
      edit.size = static_cast<std::uint32_t>(text.size());
      texts_ += text;
      return true;
    }
    if (range.begin < edit.end && edit.begin < range.end) return false;
    if (place == count_ && (edit.begin > range.begin || (edit.begin == range.begin && edit.rank > rank))) place = i;
  }
  if (count_ == edits_.size()) return false;
  std::copy_backward(edits_.begin() + static_cast<std::ptrdiff_t>(place), edits_.begin() + static_cast<std::ptrdiff_t>(count_),
                     edits_.begin() + static_cast<std::ptrdiff_t>(count_ + 1));
  edits_[place] = {range.begin, range.end, static_cast<std::uint32_t>(texts_.size()), static_cast<std::uint32_t>(text.size()), rank};
  ++count_;
  texts_ += text;
  return true;
}

std::size_t Rewrite::index_of(const Line& line) const noexcept {
  const auto lines = message_->lines();
  const auto found = std::lower_bound(lines.begin(), lines.end(), line.begin, [](const Line& a, std::uint32_t begin) { return a.begin < begin; });
  const auto index = static_cast<std::size_t>(found - lines.begin());
  return found != lines.end() && found->begin == line.begin ? index : lines.size();
}

/// A range with bytes of an erased line can no longer be edited.
bool Rewrite::is_erased(Range range) const noexcept {
  if (erased_.none()) return false;
  const auto lines = message_->lines();
  for (std::size_t i = 0; i < lines.size(); ++i)
    if (erased_[i] && lines[i].begin < range.end && range.begin < lines[i].end) return true;
  return false;
}

bool Rewrite::range_of(std::string_view part, Range& range) const noexcept {
  const std::string_view wire = message_->wire();
  if (part.data() == nullptr || part.data() < wire.data() || part.data() + part.size() > wire.data() + message_->headers_end()) return false;
  range.begin = offset(*message_, part);
  range.end = range.begin + static_cast<std::uint32_t>(part.size());
  return true;
}

bool Rewrite::set_request_uri(std::string_view uri) { return message_->is_request() && replace(message_->request_uri(), uri); }

bool Rewrite::set_status_line(int status, std::string_view reason) {
  std::array<char, 128> text{};
  constexpr std::string_view version = "SIP/2.0 ";
  if (status < 100 || status > 699 || reason.size() > text.size() - version.size() - 4) return false;
  char* end = std::copy(version.begin(), version.end(), text.data());
  end = std::to_chars(end, text.data() + text.size(), status).ptr;
  *end++ = ' ';
  end = std::copy(reason.begin(), reason.end(), end);
  return set_start_line({text.data(), static_cast<std::size_t>(end - text.data())});
}

bool Rewrite::set_start_line(std::string_view text) { return replace(message_->start_line(), text); }

bool Rewrite::prepend(std::string_view line_text) {
  const std::uint32_t begin = headers_begin(*message_);
  return put({begin, begin}, line_text, 0);
}

bool Rewrite::insert_before(Header header, std::string_view line_text) {
  const Line* line = message_->find(header);
  const std::uint32_t begin = line == nullptr ? message_->headers_end() : line->begin;
  return put({begin, begin}, line_text);
}

bool Rewrite::append(std::string_view line_text) {
  const std::uint32_t end = message_->headers_end();
  return put({end, end}, line_text);
}

bool Rewrite::erase(const Line& line) {
  const std::size_t index = index_of(line);
  if (index >= message_->lines().size()) return false;
  erased_.set(index);
  return true;
}

bool Rewrite::erase_all(Header header) {
  const auto lines = message_->lines();
  for (std::size_t i = 0; i < lines.size(); ++i)
    if (lines[i].header == header) erased_.set(i);
  return true;
}

bool Rewrite::replace_value(const Line& line, std::string_view value) { return put({line.value_begin, line.value_end}, value); }

bool Rewrite::erase_first_value(Header header) {
  const auto lines = message_->lines();
  for (std::size_t i = 0; i < lines.size(); ++i) {
    if (lines[i].header != header || erased_[i]) continue;
    bool popped = false;
    if (!pop_value(lines[i], popped)) return false;
    if (popped) return true;
  }
  return false;
}

Rewrite::Edit* Rewrite::value_edit(const Line& line) noexcept {
  for (std::size_t i = 0; i < count_; ++i)
    if (edits_[i].begin == line.value_begin && edits_[i].end > edits_[i].begin) return &edits_[i];
  return nullptr;
}

/// Cuts the first value that is still left off a line; the line goes when nothing is left behind it.
bool Rewrite::pop_value(const Line& line, bool& popped) {
  Edit* const edit = value_edit(line);
  const bool replaced = edit != nullptr && edit->end == line.value_end;
  if (edit != nullptr && !replaced && edit->size > 0) return false;  // a part of the value was replaced
  std::string_view left = replaced ? text_of(*edit) : message_->value(line).substr(edit == nullptr ? 0 : edit->end - line.value_begin);
  ValueCursor values{left};
  std::string_view value;
  popped = values.next(value);
  if (!popped || !values.next(value)) return erase(line);
  if (replaced) {
    const auto cut = static_cast<std::uint32_t>(value.data() - left.data());
    edit->text += cut;
    edit->size -= cut;
    return true;
  }
  const std::uint32_t begin = offset(*message_, value);
  if (edit == nullptr) return put({line.value_begin, begin}, {});
  const Edit* const next = edit + 1;
  if (next < edits_.data() + count_ && next->begin < begin) return false;
  edit->end = begin;
  return true;
}

bool Rewrite::replace(std::string_view part, std::string_view text) {
  Range range{};
  return !part.empty() && range_of(part, range) && put(range, text);
}

bool Rewrite::insert_after(std::string_view part, std::string_view text) {
  Range range{};
  return range_of(part, range) && put({range.end, range.end}, text);
}

bool Rewrite::replace_body(std::string_view body) {
  std::array<char, 24> digits{};
  const auto digits_end = std::to_chars(digits.data(), digits.data() + digits.size(), body.size()).ptr;
  const Line* line = message_->find(Header::content_length);
  if (line != nullptr && !erased_[index_of(*line)] &&
      !replace_value(*line, {digits.data(), static_cast<std::size_t>(digits_end - digits.data())}))
    return false;
  body_replaced_ = true;
  body_text_ = static_cast<std::uint32_t>(texts_.size());
  body_size_ = static_cast<std::uint32_t>(body.size());
  texts_ += body;
  return true;
}

void Rewrite::write_headers(std::string& out) const {
  const std::string_view wire = message_->wire();
  const auto lines = message_->lines();
  std::size_t from = 0;
  std::size_t edit = 0;
  std::size_t line = erased_._Find_first();
  const auto copy_to = [&](std::size_t end) {
    if (end > from) out.append(wire, from, end - from);
  };
  while (edit < count_ || line < erased_.size()) {
    const bool edit_next = edit < count_ && (line >= erased_.size() || edits_[edit].begin <= lines[line].begin);
    if (!edit_next) {
      copy_to(lines[line].begin);
      from = std::max<std::size_t>(from, lines[line].end);
      line = erased_._Find_next(line);
      continue;
    }
    const Edit& now = edits_[edit++];
    if (now.begin < from) continue;  // it stood in an erased line
    copy_to(now.begin);
    out += text_of(now);
    from = now.end;
  }
  copy_to(message_->headers_end());
}

void Rewrite::write(std::string& out) const {
  write_headers(out);
  const std::string_view wire = message_->wire();
  const std::string_view body = body_replaced_ ? std::string_view{texts_}.substr(body_text_, body_size_) : message_->body();
  const Line* line = message_->find(Header::content_length);
  if (body_replaced_ && (line == nullptr || erased_[index_of(*line)])) {
    out += "Content-Length: ";
    append_number(out, body.size());
    out += "\r\n";
  }
  const std::uint32_t blank = message_->headers_end();
  out.append(wire, blank, offset(*message_, message_->body()) - blank);
  out += body;
}

}  // namespace sipfarm::sip
