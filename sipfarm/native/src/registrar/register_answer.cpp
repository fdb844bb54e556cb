#include "registrar/register_answer.hpp"

#include <array>
#include <chrono>

#include "sip/compose.hpp"
#include "store/record_reader.hpp"

namespace sipfarm::registrar {

namespace {

constexpr std::int64_t q_max = 1'000;

void append_padded(std::string& out, std::uint64_t number, std::uint64_t least_with_all_digits) {
  for (; least_with_all_digits > 1 && number < least_with_all_digits; least_with_all_digits /= 10) out += '0';
  sip::append_number(out, number);
}

/// Thousandths as a qvalue below 1.
void append_q(std::string& out, std::int64_t q) {
  out += ";q=0.";
  append_padded(out, static_cast<std::uint64_t>(q), 100);
  out.erase(out.find_last_not_of('0') + 1);
  if (out.back() == '.') out.pop_back();
}

void append_quoted(std::string& out, std::string_view text) {
  out += '"';
  for (const char c : text) {
    if (c == '\\' || c == '"') out += '\\';
    out += c;
  }
  out += '"';
}

bool has_line_break(std::string_view text) noexcept { return text.find_first_of("\r\n") != std::string_view::npos; }

bool append_contact(std::string& out, store::RecordReader& reader, std::int64_t wall_ms) {
  const std::uint32_t fields = reader.array();
  constexpr std::uint32_t read = 10;
  if (fields < read) return false;
  reader.skip();  // the address-of-record
  const std::string_view contact = reader.str();
  reader.skip();  // its key
  reader.skip();  // Call-ID
  reader.skip();  // CSeq
  const std::int64_t expires_at_wall_ms = reader.integer();
  const std::string_view instance_id = reader.str();
  const std::int64_t reg_id = reader.integer();
  reader.skip();  // the path
  const std::int64_t q = reader.integer();
  for (std::uint32_t left = fields - read; left > 0; --left) reader.skip();
  if (reader.failed() || q > q_max || has_line_break(contact) || has_line_break(instance_id)) return false;
  if (expires_at_wall_ms <= wall_ms) return true;
  out += "Contact: <";
  out += contact;
  out += ">;expires=";
  sip::append_number(out, static_cast<std::uint64_t>((expires_at_wall_ms - wall_ms + 999) / 1'000));
  if (q != q_max) append_q(out, q);
  if (!instance_id.empty()) {
    out += ";+sip.instance=";
    append_quoted(out, instance_id);
  }
  if (reg_id != 0) {
    out += ";reg-id=";
    sip::append_number(out, static_cast<std::uint64_t>(reg_id));
  }
  out += "\r\n";
  return true;
}

}  // namespace

bool append_contacts(std::string& out, std::string_view bindings, std::int64_t wall_ms) {
  store::RecordReader reader{bindings};
  for (std::uint32_t left = reader.array(); left > 0; --left) {
    if (!append_contact(out, reader, wall_ms)) return false;
  }
  return !reader.failed();
}

void append_date(std::string& out, std::int64_t wall_ms) {
  constexpr std::array<std::string_view, 7> days{"Sun, ", "Mon, ", "Tue, ", "Wed, ", "Thu, ", "Fri, ", "Sat, "};
  constexpr std::array<std::string_view, 12> months{" Jan ", " Feb ", " Mar ", " Apr ", " May ", " Jun ",
                                                    " Jul ", " Aug ", " Sep ", " Oct ", " Nov ", " Dec "};
  const std::chrono::sys_seconds second{std::chrono::seconds{wall_ms / 1'000}};
  const auto day = std::chrono::floor<std::chrono::days>(second);
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss time{second - day};
  out += days[std::chrono::weekday{day}.c_encoding()];
  append_padded(out, static_cast<unsigned>(date.day()), 10);
  out += months[static_cast<unsigned>(date.month()) - 1];
  sip::append_number(out, static_cast<std::uint64_t>(static_cast<int>(date.year())));
  out += ' ';
  append_padded(out, static_cast<std::uint64_t>(time.hours().count()), 10);
  out += ':';
  append_padded(out, static_cast<std::uint64_t>(time.minutes().count()), 10);
  out += ':';
  append_padded(out, static_cast<std::uint64_t>(time.seconds().count()), 10);
  out += " GMT";
}

}  // namespace sipfarm::registrar
