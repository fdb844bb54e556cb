#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "net/hop.hpp"
#include "sip/message.hpp"
#include "sip/own_addresses.hpp"
#include "sip/uri.hpp"

/// What a registrar asks of a REGISTER, read in one go (RFC 3261 §10.3). Facts only: what follows from them is decided elsewhere.
namespace sipfarm::sip {

/// Where a URI leads as far as the text tells.
struct Place {
  std::string host;      // in lower case, without the root's dot; "" for a phone: an IP address with a port that is not ours
  bool is_farm = false;  // it is one of our own addresses
};
Place place_of(const Uri& uri, const OwnAddresses& own);

/// Who is to be registered, and where.
struct Registrant {
  bool is_sip = false;    // the URI in To is sip or sips
  std::string user;       // of the canonical address-of-record in To
  Place domain;           // of To
  Place registrar;        // the Request-URI
};
/// Nothing, and why, where To or the Request-URI is malformed.
std::optional<Registrant> read_registrant(const Message& request, const OwnAddresses& own, std::string_view& malformed);

/// One Contact.
struct RegisterContact {
  enum class Fitness : std::uint8_t { fit, malformed, no_sip_uri, no_request_uri };  // the last: too long, or with headers (RFC 3261 §19.1.5)

  Fitness fitness = Fitness::malformed;
  std::string uri;              // as the phone wrote it
  std::string key;              // by which two contacts are told apart
  Place place;
  std::int64_t expires_s = -1;  // -1: absent; 3600: malformed (RFC 3261 §20.10)
  int q = 1'000;                // thousandths
  std::string instance_id;
  std::uint32_t reg_id = 0;     // 0: absent or malformed
  bool is_believed = false;     // over UDP, and nothing speaks of a NAT: the phone is reached by its Contact
};

/// All the Contacts, and what they share.
struct RegisterContacts {
  std::vector<RegisterContact> contacts;
  std::size_t count = 0;          // more than `contacts` where there are too many
  bool has_wildcard = false;
  std::int64_t expires_s = -1;    // of the Expires header; -1: absent or malformed
  std::vector<std::string> path;
  bool path_is_well_formed = true;
  bool edge_does_outbound = false;  // the last hop of the path has "ob" (RFC 5626 §5.1)
  bool supports_outbound = false;
  bool is_direct = false;         // no proxy stands in between: the source is the phone's own, or its NAT's
};
RegisterContacts read_contacts(const Message& request, const net::Hop& source, const OwnAddresses& own, std::size_t contacts_max);

/// Deviation: equality by RFC 3261 §19.1.4 is not transitive (a parameter on one side only is passed over), so no key can give it; here every
/// parameter counts. Phones that tell lines apart by a parameter of their own keep them apart.
void append_contact_key(std::string& out, const Uri& uri);

}  // namespace sipfarm::sip
