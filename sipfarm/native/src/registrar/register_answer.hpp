#pragma once

#include <cstdint>
#include <string>
#include <string_view>

/// The header fields of a 200 to a REGISTER (RFC 3261 §10.3 step 8), as signaling/registrar.py writes them.
namespace sipfarm::registrar {

/// Appends a Contact line for each binding of a stored array that has not expired. False where it is no such array, or a line cannot be written.
bool append_contacts(std::string& out, std::string_view bindings, std::int64_t wall_ms);

/// "Tue, 14 Nov 2023 22:13:20 GMT" (RFC 3261 §20.17).
void append_date(std::string& out, std::int64_t wall_ms);

}  // namespace sipfarm::registrar
