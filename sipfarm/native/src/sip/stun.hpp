#pragma once

#include <string>
#include <string_view>

#include "net/address.hpp"

namespace sipfarm::sip {

/// Does a datagram on the SIP port look like STUN (RFC 5626 §4.4.2, RFC 8489 §5)?
bool is_stun(std::string_view datagram) noexcept;

/// Appends the answer to a Binding request: the address it came from (RFC 8489 §14.2). False for anything else.
bool append_binding_response(std::string& out, std::string_view request, const net::Address& source);

}  // namespace sipfarm::sip
