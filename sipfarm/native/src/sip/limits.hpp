#pragma once

#include <cstddef>
#include <cstdint>

/// Bounds of everything that a peer's bytes can make grow in the message library.
namespace sipfarm::sip::limits {

constexpr std::size_t message_bytes = 65'535;       // one SIP message, headers and body (the largest UDP datagram)
constexpr std::size_t header_bytes = 32'768;        // start line and headers of one message on a stream
constexpr std::size_t message_lines = 250;          // header fields of one message
constexpr std::size_t rewrite_edits = 64;           // edits of one Rewrite, erased lines not counted
constexpr std::uint32_t cseq_number = 2'147'483'647;  // RFC 3261 §8.1.1.5
constexpr std::uint32_t max_forwards = 255;         // RFC 3261 §20.22

static_assert(header_bytes < message_bytes);
static_assert(message_lines < 255, "Message keeps line numbers plus one in a byte");

}  // namespace sipfarm::sip::limits
