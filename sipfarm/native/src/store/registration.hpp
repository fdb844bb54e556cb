#pragma once

#include <cstdint>
#include <string>
#include <string_view>

/// Applying a REGISTER to an address-of-record (RFC 3261 §10.3 steps 6 and 7, RFC 5626 §6).
///
/// Pure, over the stored form: both stores run it inside one atomic update of the cell that holds the address-of-record, and may run it again when
/// another member came first. The records are those of `base/records.py` and `cluster/registration.py`; a binding is kept byte for byte as it came,
/// so fields that a later release appends survive.
///
/// What a REGISTER removed or replaced is remembered for a while as (contact, Call-ID, CSeq), so that a late duplicate of an older REGISTER,
/// arriving over any member, cannot bring it back.
///
/// An update without a Call-ID, of the farm's own, takes all bindings of an account that is gone and closes its address-of-record: for a while every
/// REGISTER is out of order. For a member that has not heeded yet that the account is gone may be about to write one.
namespace sipfarm::store {

constexpr std::int64_t superseded_ms = 64'000;   // twice timer F: no retransmission lives longer (RFC 3261 §17.1.2.2)
constexpr std::int64_t closed_ms = 5'000;        // a member heeds a change of names within a second; REGISTERs count by when they came
constexpr std::size_t superseded_max = 32;       // for each address-of-record; the oldest are forgotten first

enum class RegisterStatus : std::uint8_t {
  applied,
  repeated,      // exactly this update was applied before, nothing changed
  out_of_order,  // an older CSeq of the same Call-ID, nothing changed
  too_many,      // more bindings than the update allows, nothing changed
  corrupt        // what is stored, or the update, is no such record
};

struct Registered {
  RegisterStatus status = RegisterStatus::corrupt;
  bool changed = false;               // `value` is to be written
  bool as_asked = false;              // the one contact of the update is the one binding there is now
  std::string value;                  // the stored form of the address-of-record
  std::int64_t dead_at_wall_ms = 0;   // when nothing in `value` has a meaning any more
  std::string bindings;               // the live bindings as an array, highest q first; empty where `as_asked`
};

/// Applies a RegisterUpdate to the stored form of an address-of-record ("" where there is none), as a whole or not at all.
Registered apply_register(std::string_view stored, std::string_view update, std::int64_t wall_ms);

}  // namespace sipfarm::store
