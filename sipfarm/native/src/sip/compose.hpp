#pragma once

#include <string>
#include <string_view>

#include "net/hop.hpp"
#include "sip/core.hpp"
#include "sip/message.hpp"

/// Messages that are made, not passed on. All append to `out`.
namespace sipfarm::sip {

std::string_view reason_phrase_of(int status) noexcept;  // RFC 3261 §21, "" where the code is not known

void append_number(std::string& out, std::uint64_t number);
/// The lowest `digits` hexadecimal digits.
void append_hex(std::string& out, std::uint64_t number, int digits);
inline constexpr int loop_chars = 16;  // of the part of our branches that tells loops apart

/// All lines of a header, under its long name.
void append_lines(std::string& out, const Message& message, Header header);
/// "Via: SIP/2.0/UDP host:port;branch=z9hG4bK", to be gone on with by an owner mark.
void append_via_begin(std::string& out, const EngineConfig& config, const net::Hop& hop);

/// The parameters that a received top Via lacks: received where sent-by differs from the source, and the value of rport
/// (RFC 3261 §18.2.1, RFC 3581 §4). Empty where nothing is to be added. A received parameter of the sender's own is never believed:
/// see stamped_via().
bool via_needs_stamp(const Via& via, const net::Hop& source) noexcept;
/// The top via-parm as it goes on: with received and rport as seen by us.
void append_stamped_via(std::string& out, const Via& via, const net::Hop& source);

/// Where the answer to a request goes (RFC 3261 §18.2.2, RFC 3581 §4): over a stream, back on it; over UDP to the source
/// address, at the source port where rport asks for it, else at the port of sent-by.
net::Hop reply_hop(const Via& via, const net::Hop& source) noexcept;

struct SentBy {
  net::Hop hop;
  std::string server;  // the name that a TLS server there must prove; "": an address was named
  std::string name;    // of sent-by; "": it is an address
  std::uint16_t port = 0;  // of sent-by; 0: not given
};
/// Where a response goes whose connection is gone: to the address that the request came from, at the port of sent-by (RFC 3261 §18.2.2);
/// and the name to look up if nobody is there (RFC 3263 §5).
/// Nothing for what is no response, and over a WebSocket, which only its client opens (RFC 7118 §5).
std::optional<SentBy> sent_by_of(std::string_view response, const net::Hop& gone);

struct ResponseParts {
  int status = 500;
  std::string_view reason;   // "": the phrase of the RFC
  std::string_view to_tag;   // added where the request has none and the status is above 100
  std::string_view headers;  // whole lines, each with its CRLF
  std::string_view body;
};
/// A response by RFC 3261 §8.2.6; Record-Route is copied where it may create a dialog (§12.1.1).
void append_response(std::string& out, const Message& request, const net::Hop& source, const ResponseParts& parts);

/// ACK to a final response other than 2xx (RFC 3261 §17.1.1.3).
void append_failure_ack(std::string& out, const Message& invite, std::string_view response_to);

/// CANCEL of a sent INVITE (RFC 3261 §9.1).
void append_cancel(std::string& out, const Message& invite, std::string_view reason_lines);

}  // namespace sipfarm::sip
