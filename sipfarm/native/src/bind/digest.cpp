#include <nanobind/operators.h>

#include <array>
#include <utility>

#include "bind/bind.hpp"
#include "sip/digest.hpp"
#include "sip/digest_guard.hpp"
#include "sip/nonce.hpp"

namespace sipfarm::bind {

namespace {

using sip::Credentials;
using sip::DigestGuard;
using sip::NonceCounts;
using sip::NonceMint;

Credentials credentials_from(nb::str username, nb::str realm, nb::str nonce, nb::str uri, nb::str response, nb::str algorithm, nb::str cnonce,
                             nb::str qop, nb::str nc) {
  return {to_text(username),  to_text(realm),  to_text(nonce), to_text(uri), to_text(response),
          to_text(algorithm), to_text(cnonce), to_text(qop),   to_text(nc)};
}

nb::object parse_credentials(nb::str value) {
  auto found = sip::parse_credentials(to_text(value));
  return found ? nb::cast(std::move(*found)) : nb::none();
}

nb::str digest_response(const Credentials& credentials, nb::str ha1, nb::str method) {
  const auto algorithm = sip::digest_algorithm_of(credentials.algorithm);
  const std::string secret = to_text(ha1);
  if (!algorithm || secret.empty()) return to_str({});
  return to_str(sip::digest_response(*algorithm, secret, to_text(method), credentials));
}

std::vector<std::string> nonce_keys_from(nb::handle keys) {
  std::vector<std::string> out;
  for (nb::handle key : keys) {
    const auto bytes = nb::cast<nb::bytes>(key);
    if (bytes.size() < sip::nonce_key_bytes_min) throw nb::value_error("a nonce key needs at least 16 bytes");
    out.emplace_back(bytes.c_str(), bytes.size());
  }
  if (out.empty()) throw nb::value_error("a nonce key is needed");
  return out;
}

sip::NonceHolder holder_from(nb::str bind_to) {
  const std::string text = to_text(bind_to);
  if (text != "port" && text != "host") throw nb::value_error("a nonce holds for a port or a host");
  return text == "port" ? sip::NonceHolder::port : sip::NonceHolder::host;
}

NonceMint mint_from(nb::handle keys, std::uint16_t member_number, nb::str bind_to) {
  return {nonce_keys_from(keys), member_number, holder_from(bind_to)};
}

net::Address source_from(nb::handle source) {
  const auto address = net::Address::parse(to_text(source[0]), nb::cast<std::uint16_t>(source[1]));
  if (!address) throw nb::value_error("a source needs an IP literal");
  return *address;
}

nb::str mint_nonce(NonceMint& mint, nb::handle source, std::int64_t wall_ms) {
  std::string nonce;
  mint.mint(nonce, source_from(source), wall_ms);
  return to_str(nonce);
}

nb::object stamp_of(const NonceMint& mint, nb::str nonce, nb::handle source) {
  const auto stamp = mint.recognise(to_text(nonce), source_from(source));
  if (!stamp) return nb::none();
  return to_bytes({reinterpret_cast<const char*>(stamp->data()), stamp->size()});
}

sip::NonceStamp stamp_from(nb::bytes bytes) {
  sip::NonceStamp stamp{};
  if (bytes.size() != stamp.size()) throw nb::value_error("a stamp has 12 bytes");
  std::copy_n(reinterpret_cast<const std::uint8_t*>(bytes.c_str()), stamp.size(), stamp.begin());
  return stamp;
}

DigestGuard guard_from(nb::handle algorithms, std::int64_t nonce_lifetime_ms, const sip::OwnAddresses& own, nb::handle keys,
                       std::uint16_t member_number, nb::str bind_to, std::size_t nonces_max, std::size_t counts_max) {
  sip::DigestGuardConfig config;
  for (nb::handle name : algorithms) {
    const auto algorithm = sip::digest_algorithm_of(to_text(name));
    if (!algorithm) throw nb::value_error("an algorithm is MD5 or SHA-256");
    config.algorithms.push_back(*algorithm);
  }
  config.nonce_lifetime_ms = nonce_lifetime_ms;
  config.own = own;
  const auto secret = sip::sha256("transactions " + nonce_keys_from(keys).front());
  std::copy_n(secret.begin(), config.transaction_key.size(), config.transaction_key.begin());
  return {std::move(config), mint_from(keys, member_number, bind_to), NonceCounts{nonces_max, counts_max}};
}

nb::list challenges_of(DigestGuard& guard, nb::str realm, nb::handle source, std::int64_t wall_ms, bool stale) {
  nb::list out;
  for (const std::string& value : guard.challenges(to_text(realm), source_from(source), wall_ms, stale)) out.append(to_str(value));
  return out;
}

nb::object find_credentials(const DigestGuard& guard, const ReceivedMessage& request, nb::str realm, bool proxy) {
  Credentials best;
  const auto header = proxy ? sip::Header::proxy_authorization : sip::Header::authorization;
  const auto kept = guard.find(*request.message, header, to_text(realm), best);
  return kept ? nb::object(nb::int_(static_cast<int>(*kept))) : nb::cast(std::move(best));
}

int judge(DigestGuard& guard, const Credentials& credentials, nb::str ha1_md5, nb::str ha1_sha256, const ReceivedMessage& request,
          std::int64_t wall_ms) {
  const std::string md5 = to_text(ha1_md5);
  const std::string sha256 = to_text(ha1_sha256);
  return static_cast<int>(guard.judge(credentials, {md5, sha256}, *request.message, request.hop, wall_ms));
}

sip::OwnAddresses own_from(nb::handle hosts, nb::handle ports) {
  std::vector<std::string> names;
  std::vector<std::uint16_t> numbers;
  for (nb::handle host : hosts) names.push_back(to_text(host));
  for (nb::handle port : ports) numbers.push_back(nb::cast<std::uint16_t>(port));
  return {std::move(names), std::move(numbers)};
}

void bind_credentials(nb::module_& module) {
  nb::class_<Credentials>(module, "Credentials", "The digest of an Authorization or Proxy-Authorization (RFC 7616 §3.4).")
      .def("__init__",
           [](Credentials* self, nb::str username, nb::str realm, nb::str nonce, nb::str uri, nb::str response, nb::str algorithm, nb::str cnonce,
              nb::str qop, nb::str nc) {
             new (self) Credentials(credentials_from(username, realm, nonce, uri, response, algorithm, cnonce, qop, nc));
           },
           nb::arg("username"), nb::arg("realm"), nb::arg("nonce"), nb::arg("uri"), nb::arg("response"), nb::arg("algorithm") = "",
           nb::arg("cnonce") = "", nb::arg("qop") = "", nb::arg("nc") = "")
      .def_prop_ro("username", [](const Credentials& self) { return to_str(self.username); })
      .def_prop_ro("realm", [](const Credentials& self) { return to_str(self.realm); })
      .def_prop_ro("nonce", [](const Credentials& self) { return to_str(self.nonce); })
      .def_prop_ro("uri", [](const Credentials& self) { return to_str(self.uri); })
      .def_prop_ro("response", [](const Credentials& self) { return to_str(self.response); })
      .def_prop_ro("algorithm", [](const Credentials& self) { return to_str(self.algorithm); })
      .def_prop_ro("cnonce", [](const Credentials& self) { return to_str(self.cnonce); })
      .def_prop_ro("qop", [](const Credentials& self) { return to_str(self.qop); })
      .def_prop_ro("nc", [](const Credentials& self) { return to_str(self.nc); })
      .def(nb::self == nb::self)
      .def("__repr__", [](const Credentials& self) { return to_str("Credentials(" + self.username + "@" + self.realm + ", response=***)"); });
  module.def("parse_credentials", &parse_credentials, nb::arg("value"), "The digest of an Authorization (RFC 7616 §3.4); None if malformed.");
  module.def("digest_response", &digest_response, nb::arg("credentials"), nb::arg("ha1"), nb::arg("method"),
             "What `response` must be for an HA1 (RFC 7616 §3.4.1), in hex; \"\" without one, or for an algorithm that is not known.");
}

void bind_nonces(nb::module_& module) {
  nb::class_<NonceMint>(module, "NonceMint", "Makes and recognises digest nonces (RFC 7616 §5.4).")
      .def("__init__",
           [](NonceMint* self, nb::handle keys, std::uint16_t member_number, nb::str bind_to) {
             new (self) NonceMint(mint_from(keys, member_number, bind_to));
           },
           nb::arg("keys"), nb::arg("member_number"), nb::arg("bind_to"))
      .def("mint", &mint_nonce, nb::arg("source"), nb::arg("wall_ms"), "A nonce for this source, unlike any other.")
      .def("recognise", &stamp_of, nb::arg("nonce"), nb::arg("source"), "The stamp of a nonce that a member of this farm gave to this source.");
  nb::enum_<sip::NonceUse>(module, "NonceUse", nb::is_arithmetic())
      .value("FIRST", sip::NonceUse::first)
      .value("SAME_TRANSACTION", sip::NonceUse::same_transaction)
      .value("REPLAY", sip::NonceUse::replay)
      .value("FORGOTTEN", sip::NonceUse::forgotten);
  nb::class_<NonceCounts>(module, "NonceCounts", "Judges nonce counts per transaction (RFC 7616 §3.4.5).")
      .def(nb::init<std::size_t, std::size_t>(), nb::arg("nonces_max"), nb::arg("counts_max"))
      .def("judge",
           [](NonceCounts& self, nb::bytes stamp, std::uint32_t count, std::uint64_t transaction, std::int64_t wall_ms) {
             return self.judge(stamp_from(stamp), count, transaction, wall_ms);
           },
           nb::arg("stamp"), nb::arg("count"), nb::arg("transaction"), nb::arg("wall_ms"))
      .def("expire", &NonceCounts::expire, nb::arg("issued_before_wall_ms"))
      .def("__len__", &NonceCounts::size);
}

}  // namespace

void bind_digest(nb::module_& module) {
  bind_credentials(module);
  bind_nonces(module);
  nb::class_<sip::OwnAddresses>(module, "OwnAddresses", "Where the farm itself is reached: all it listens on or advertises.")
      .def("__init__", [](sip::OwnAddresses* self, nb::handle hosts, nb::handle ports) { new (self) sip::OwnAddresses(own_from(hosts, ports)); },
           nb::arg("hosts"), nb::arg("ports"), "Hosts in lower case, IPv6 in brackets.")
      .def("include", [](const sip::OwnAddresses& self, nb::str host, std::uint32_t port) { return self.include(to_text(host), port); },
           nb::arg("host"), nb::arg("port"), "Whether a URI with this host and port (0: absent) leads to the farm.")
      .def("has_port", &sip::OwnAddresses::has_port, nb::arg("port"));
  module.def("same_resource",
             [](nb::str uri, nb::str request_uri, const sip::OwnAddresses& own) {
               return sip::same_resource(to_text(uri), to_text(request_uri), own);
             },
             nb::arg("uri"), nb::arg("request_uri"), nb::arg("own"), "Whether the `uri` of a digest is the Request-URI (RFC 3261 §22.4 item 1).");
  nb::class_<DigestGuard>(module, "DigestGuard", "Finds credentials in requests and judges them (RFC 7616 §3.4).")
      .def("__init__",
           [](DigestGuard* self, nb::handle algorithms, std::int64_t nonce_lifetime_ms, const sip::OwnAddresses& own, nb::handle keys,
              std::uint16_t member_number, nb::str bind_to, std::size_t nonces_max, std::size_t counts_max) {
             new (self) DigestGuard(guard_from(algorithms, nonce_lifetime_ms, own, keys, member_number, bind_to, nonces_max, counts_max));
           },
           nb::kw_only(), nb::arg("algorithms"), nb::arg("nonce_lifetime_ms"), nb::arg("own"), nb::arg("keys"), nb::arg("member_number"),
           nb::arg("bind_to"), nb::arg("nonces_max"), nb::arg("counts_max"))
      .def("challenges", &challenges_of, nb::arg("realm"), nb::arg("source"), nb::arg("wall_ms"), nb::arg("stale"),
           "The values of WWW-Authenticate or Proxy-Authenticate, one for each algorithm.")
      .def_prop_ro("nonces_known", &DigestGuard::nonces_known, "Of how many nonces the use is remembered.")
      .def("find", &find_credentials, nb::arg("request"), nb::arg("realm"), nb::arg("proxy"),
           "The credentials for a realm by the algorithm we like best, or the number of a Verdict.")
      .def("judge", &judge, nb::arg("credentials"), nb::arg("ha1_md5"), nb::arg("ha1_sha256"), nb::arg("request"), nb::arg("wall_ms"),
           "The number of a Verdict.");
}

}  // namespace sipfarm::bind
