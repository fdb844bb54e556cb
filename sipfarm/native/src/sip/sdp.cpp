#include "sip/sdp.hpp"

#include <algorithm>
#include <charconv>

namespace sipfarm::sip {
namespace {

constexpr std::string_view white_space = " \t";

/// One line of a description: CRLF or bare LF ends it, the last one may lack both.
struct SdpLine {
  char type = '\0';         // 'm' of "m=…"; '\0' where there is no such thing
  std::string_view value;   // after the '='
  std::string_view whole;   // with what ends the line
};

/// Takes the first line off `rest`, which is not empty.
SdpLine take_line(std::string_view& rest) noexcept {
  SdpLine line;
  line.whole = rest.substr(0, rest.find('\n'));
  if (line.whole.size() < rest.size()) line.whole = rest.substr(0, line.whole.size() + 1);
  rest.remove_prefix(line.whole.size());
  std::string_view text = line.whole;
  if (text.ends_with('\n')) text.remove_suffix(1);
  if (text.ends_with('\r')) text.remove_suffix(1);
  if (text.size() < 2 || text[1] != '=') return line;
  line.type = text[0];
  line.value = text.substr(2);
  return line;
}

/// Takes the next word off `rest`; empty at the end.
std::string_view take_word(std::string_view& rest) noexcept {
  rest.remove_prefix(std::min(rest.find_first_not_of(white_space), rest.size()));
  const std::string_view word = rest.substr(0, rest.find_first_of(white_space));
  rest.remove_prefix(word.size());
  return word;
}

std::string_view trim(std::string_view text) noexcept {
  text.remove_prefix(std::min(text.find_first_not_of(white_space), text.size()));
  return text.substr(0, text.find_last_not_of(white_space) + 1);
}

constexpr char lower(char c) noexcept { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

bool same(std::string_view a, std::string_view b) noexcept {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](char x, char y) { return lower(x) == lower(y); });
}
bool begins(std::string_view text, std::string_view with) noexcept { return same(text.substr(0, with.size()), with); }
bool ends(std::string_view text, std::string_view with) noexcept {
  return text.size() >= with.size() && same(text.substr(text.size() - with.size()), with);
}

std::optional<std::uint16_t> number_of(std::string_view digits) noexcept {
  std::uint16_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (error != std::errc{} || end != digits.data() + digits.size()) return std::nullopt;
  return number;
}

/// RFC 6157: what an IPv6 side holds with.
bool is_invalid_name(std::string_view host) noexcept { return same(host, "invalid") || ends(host, ".invalid"); }

/// `nettype addrtype connection-address`, in c= and in a=rtcp.
struct ConnectionField {
  Connection connection;
  std::string_view type_and_address;  // the part that a relay replaces
};

std::optional<ConnectionField> read_connection(std::string_view value) noexcept {
  const std::string_view network = take_word(value);
  const std::string_view type = take_word(value);
  const std::string_view address = take_word(value);
  if (address.empty()) return std::nullopt;
  ConnectionField field;
  field.type_and_address = {type.data(), static_cast<std::size_t>(address.data() + address.size() - type.data())};
  Connection& connection = field.connection;
  connection.host = address.substr(0, address.find('/'));
  connection.ip = net::Address::parse(connection.host, 0);
  const bool internet = same(network, "IN") && (same(type, "IP4") || same(type, "IP6"));
  if (!internet || (connection.ip && connection.ip->is_multicast())) {
    connection.kind = ConnectionKind::foreign;
  } else if (connection.ip ? connection.ip->is_unspecified() : is_invalid_name(connection.host)) {
    connection.kind = ConnectionKind::held;
  } else {
    connection.kind = ConnectionKind::unicast;
  }
  return field;
}

Carrier carrier_of(std::string_view proto) noexcept {
  if (begins(proto, "RTP/") || begins(proto, "UDP/TLS/RTP/")) return Carrier::rtp;
  if (same(proto, "udptl") || same(proto, "udp") || begins(proto, "UDP/")) return Carrier::udp;
  return Carrier::other;
}

/// The value of m=, and the word of it that holds the port.
struct MediaField {
  MediaLine line;
  std::string_view port;
};

std::optional<MediaField> read_media(std::string_view value) noexcept {
  MediaField field;
  field.line.media = take_word(value);
  field.port = take_word(value);
  field.line.proto = take_word(value);
  field.line.formats = trim(value);
  if (field.line.proto.empty()) return std::nullopt;
  const auto slash = std::min(field.port.find('/'), field.port.size());
  const auto port = number_of(field.port.substr(0, slash));
  const auto count = slash == field.port.size() ? std::uint16_t{1} : number_of(field.port.substr(slash + 1));
  if (!port || !count || *count == 0) return std::nullopt;
  field.line.port = *port;
  field.line.port_count = *count;
  field.line.carrier = carrier_of(field.line.proto);
  return field;
}

constexpr std::string_view rtcp_prefix = "rtcp:";

/// a=rtcp:port [nettype addrtype connection-address] (RFC 3605 §2.1).
struct RtcpField {
  std::string_view port_text;
  std::uint16_t port = 0;
  std::optional<ConnectionField> connection;
};

std::optional<RtcpField> read_rtcp(std::string_view attribute) noexcept {
  if (!attribute.starts_with(rtcp_prefix)) return std::nullopt;
  std::string_view rest = attribute.substr(rtcp_prefix.size());
  RtcpField field;
  field.port_text = take_word(rest);
  const auto port = number_of(field.port_text);
  if (!port) return std::nullopt;
  field.port = *port;
  field.connection = read_connection(rest);
  return field;
}

std::optional<Direction> direction_of(std::string_view attribute) noexcept {
  if (attribute == "sendrecv") return Direction::sendrecv;
  if (attribute == "sendonly") return Direction::sendonly;
  if (attribute == "recvonly") return Direction::recvonly;
  if (attribute == "inactive") return Direction::inactive;
  return std::nullopt;
}

void read_attribute(MediaLine& line, std::optional<RtcpField>& rtcp, std::string_view attribute) noexcept {
  if (const auto direction = direction_of(attribute)) {
    line.direction = *direction;
  } else if (attribute == "rtcp-mux" || attribute == "rtcp-mux-only") {
    line.rtcp_mux = true;
  } else if (attribute == "bundle-only") {
    line.bundle_only = true;
  } else if (attribute.starts_with("candidate:")) {
    line.ice = true;
  } else if (!rtcp) {
    rtcp = read_rtcp(attribute);
  }
}

/// Once its section is read: where this side wants its packets.
void settle(MediaLine& line, const std::optional<RtcpField>& rtcp) noexcept {
  line.rtcp_attribute = rtcp.has_value();
  if (line.rejected() || line.connection.kind != ConnectionKind::unicast || !line.connection.ip) return;
  line.rtp = line.connection.ip;
  line.rtp->port = line.port;
  if (line.carrier != Carrier::rtp) return;
  net::Address address = *line.connection.ip;
  address.port = rtcp ? rtcp->port : static_cast<std::uint16_t>(line.port + 1);  // 65535 + 1 is none
  if (rtcp && rtcp->connection) {
    const Connection& own = rtcp->connection->connection;
    if (own.kind != ConnectionKind::unicast || !own.ip) return;
    address = *own.ip;
    address.port = rtcp->port;
  }
  if (address.port != 0) line.rtcp = address;
}

}  // namespace

std::optional<SdpView> SdpView::parse(std::string_view body) noexcept {
  if (body.size() > sdp_bytes_max || !body.starts_with("v=")) return std::nullopt;
  SdpView sdp;
  sdp.body_ = body;
  std::array<std::optional<RtcpField>, media_lines_max> rtcp;
  Direction direction = Direction::sendrecv;

  for (std::string_view rest = body; !rest.empty();) {
    const SdpLine line = take_line(rest);
    MediaLine* const current = sdp.media_count_ == 0 ? nullptr : &sdp.media_[sdp.media_count_ - 1];
    if (line.type == 'm') {
      const auto field = read_media(line.value);
      if (!field || sdp.media_count_ == media_lines_max) return std::nullopt;
      sdp.media_[sdp.media_count_] = field->line;
      sdp.media_[sdp.media_count_].direction = direction;
      ++sdp.media_count_;
    } else if (line.type == 'c') {
      const auto field = read_connection(line.value);
      if (!field) return std::nullopt;
      Connection& connection = current == nullptr ? sdp.connection_ : current->connection;
      if (connection.kind == ConnectionKind::none) connection = field->connection;  // more of them: layers of multicast
      if (current != nullptr) current->own_connection = true;
    } else if (line.type == 'a') {
      const std::string_view attribute = trim(line.value);
      if (current != nullptr) {
        read_attribute(*current, rtcp[sdp.media_count_ - 1], attribute);
      } else {
        direction = direction_of(attribute).value_or(direction);
      }
    }
  }
  for (std::size_t i = 0; i < sdp.media_count_; ++i) {
    MediaLine& line = sdp.media_[i];
    if (!line.own_connection) line.connection = sdp.connection_;
    settle(line, rtcp[i]);
  }
  return sdp;
}

namespace {

/// Appends lines of one description with the relay in their place.
class RelayWriter {
 public:
  RelayWriter(const net::Address& relay, bool bare_lf, std::string& out) : out_{out}, line_end_{bare_lf ? "\n" : "\r\n"} {
    std::string host = relay.host();
    if (relay.v6) host = host.substr(1, host.size() - 2);  // no brackets in SDP (RFC 8866 §9)
    type_and_address_ = (relay.v6 ? "IP6 " : "IP4 ") + host;
  }

  void copy(const SdpLine& line) { out_ += line.whole; }

  void media(const SdpLine& line, std::uint16_t rtp_port) {
    const auto field = read_media(line.value);
    if (!field) return copy(line);
    upto(line, field->port);
    port(rtp_port);
    after(line, field->port);
  }

  void connection(const SdpLine& line) {
    const auto field = read_connection(line.value);
    if (!field || field->connection.kind != ConnectionKind::unicast) return copy(line);
    upto(line, field->type_and_address);
    out_ += type_and_address_;
    after(line, field->type_and_address);
  }

  void attribute(const SdpLine& line, std::uint16_t remote_port, std::uint16_t rtp_port) {
    const auto field = read_rtcp(trim(line.value));
    if (!field) return copy(line);
    upto(line, field->port_text);
    port(field->port == remote_port ? rtp_port : static_cast<std::uint16_t>(rtp_port + 1));
    if (field->connection && field->connection->connection.kind == ConnectionKind::unicast) {
      const std::string_view own = field->connection->type_and_address;
      out_.append(field->port_text.data() + field->port_text.size(), own.data());
      out_ += type_and_address_;
      return after(line, own);
    }
    after(line, field->port_text);
  }

  /// A c= line that was not there.
  void new_connection() {
    const bool open = !out_.ends_with('\n');  // after the body's last line, which has no end
    if (open) out_ += out_.ends_with('\r') ? "\n" : line_end_;
    out_ += "c=IN ";
    out_ += type_and_address_;
    if (!open) out_ += line_end_;
  }

 private:
  void upto(const SdpLine& line, std::string_view part) { out_.append(line.whole.data(), part.data()); }
  void after(const SdpLine& line, std::string_view part) {
    out_.append(part.data() + part.size(), line.whole.data() + line.whole.size());
  }
  void port(std::uint16_t number) {
    std::array<char, 8> digits{};
    out_.append(digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr);
  }

  std::string& out_;
  std::string_view line_end_;
  std::string type_and_address_;
};

bool can_stand(const net::Address& relay) noexcept { return !relay.is_unspecified() && !relay.is_multicast(); }
bool is_port_pair(std::uint16_t rtp_port) noexcept { return rtp_port != 0 && rtp_port != UINT16_MAX; }

}  // namespace

bool put_relay_in(const SdpView& sdp, std::span<const RelayLine> lines, const net::Address& relay, std::string& out) {
  const auto media = sdp.media();
  if (lines.size() != media.size() || !can_stand(relay)) return false;
  std::array<bool, media_lines_max> relayed{};
  bool any = false;
  bool session_is_needed = false;  // by a line that stays outside the relay
  for (std::size_t i = 0; i < media.size(); ++i) {
    if (lines[i].relayed && !is_port_pair(lines[i].rtp_port)) return false;
    relayed[i] = lines[i].relayed && media[i].relayable();
    any = any || relayed[i];
    session_is_needed = session_is_needed || (!relayed[i] && !media[i].rejected() && !media[i].own_connection);
  }
  const ConnectionKind session = sdp.connection().kind;
  const bool rewrite_session = any && session == ConnectionKind::unicast && !session_is_needed;
  const bool session_serves = rewrite_session || session == ConnectionKind::held;

  std::string_view rest = sdp.body();
  RelayWriter writer{relay, !rest.substr(0, rest.find('\n')).ends_with('\r'), out};
  bool wants_connection = false;
  std::size_t count = 0;  // of m-lines so far
  while (!rest.empty()) {
    const SdpLine line = take_line(rest);
    if (wants_connection && line.type != 'i') {  // c= follows m= and i= (RFC 8866 §5)
      writer.new_connection();
      wants_connection = false;
    }
    if (line.type == 'm') ++count;
    const bool in_relay = count == 0 ? rewrite_session : relayed[count - 1];
    if (!in_relay) {
      writer.copy(line);
    } else if (line.type == 'm') {
      writer.media(line, lines[count - 1].rtp_port);
      wants_connection = !media[count - 1].own_connection && !session_serves;
    } else if (line.type == 'c') {
      writer.connection(line);
    } else if (line.type == 'a' && count > 0) {
      writer.attribute(line, media[count - 1].port, lines[count - 1].rtp_port);
    } else {
      writer.copy(line);
    }
  }
  if (wants_connection) writer.new_connection();
  return true;
}

}  // namespace sipfarm::sip
