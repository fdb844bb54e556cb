#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "sip/register_request.hpp"

namespace sipfarm::registrar {

/// One contact that is to be bound to an address-of-record, and nothing else (RFC 3261 §10.3 step 7).
struct PlainUpdate {
  std::string_view aor;
  std::string_view call_id;
  std::uint32_t cseq = 0;
  const sip::RegisterContact& contact;
  std::int64_t expires_at_wall_ms = 0;
  std::string_view received;  // "udp:192.0.2.1:5060" where the phone is reached through its flow
  std::string_view flow;      // the owner mark of that flow
  std::string_view user_agent;
  std::uint64_t bindings_max = 0;
};

/// Appends the stored form of a RegisterUpdate, byte for byte as Python writes it (base/records.py, cluster/registration.py).
void append_update(std::string& out, const PlainUpdate& update);

/// The contacts of a stored RegisterUpdate, as an array of bindings; "" where it is none.
std::string_view contacts_of(std::string_view update) noexcept;

}  // namespace sipfarm::registrar
