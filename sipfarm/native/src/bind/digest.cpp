#include "sip/digest.hpp"

#include "bind/bind.hpp"

namespace sipfarm::bind {

namespace {

nb::object credentials_of(nb::str value) {
  const std::string text = to_text(value);
  const auto found = sip::parse_credentials(text);
  if (!found) return nb::none();
  return nb::make_tuple(to_str(found->username), to_str(found->realm), to_str(found->nonce), to_str(found->uri), to_str(found->response),
                        to_str(found->algorithm), to_str(found->cnonce), to_str(found->qop), to_str(found->nc));
}

nb::str response_of(nb::str algorithm, nb::str ha1, nb::str method, nb::handle uri, nb::handle nonce, nb::handle cnonce, nb::handle qop,
                    nb::handle nc) {
  const auto known = sip::digest_algorithm_of(to_text(algorithm));
  if (!known) return to_str({});
  const std::string uri_text = to_text(uri);
  const std::string nonce_text = to_text(nonce);
  const std::string cnonce_text = to_text(cnonce);
  const std::string qop_text = to_text(qop);
  const std::string nc_text = to_text(nc);
  sip::Credentials credentials;
  credentials.uri = uri_text;
  credentials.nonce = nonce_text;
  credentials.cnonce = cnonce_text;
  credentials.qop = qop_text;
  credentials.nc = nc_text;
  return to_str(sip::digest_response(*known, to_text(ha1), to_text(method), credentials));
}

}  // namespace

void bind_digest(nb::module_& module) {
  module.def("parse_credentials", &credentials_of, nb::arg("value"),
             "(username, realm, nonce, uri, response, algorithm, cnonce, qop, nc) of an Authorization (RFC 7616 §3.4); None if malformed.");
  module.def("digest_response", &response_of, nb::arg("algorithm"), nb::arg("ha1"), nb::arg("method"), nb::arg("uri"), nb::arg("nonce"),
             nb::arg("cnonce"), nb::arg("qop"), nb::arg("nc"), "RFC 7616 §3.4.1 in hex; \"\" for an algorithm that is not known.");
}

}  // namespace sipfarm::bind
