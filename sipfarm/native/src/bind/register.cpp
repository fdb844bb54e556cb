#include "sip/register_request.hpp"
#include "sip/register_screen.hpp"

#include "bind/bind.hpp"
#include "sip/headers.hpp"
#include "sip/text.hpp"

namespace sipfarm::bind {

namespace {

using sip::OwnAddresses;
using sip::RegisterContact;
using sip::RegisterContacts;
using sip::RegisterScreen;

nb::object tags_of(const sip::Message& request, sip::Header header) {
  nb::list out;
  sip::HeaderCursor values{request, header};
  for (std::string_view value; values.next(value);) {
    std::string tag{sip::text::trim(value)};
    for (char& c : tag) c = sip::text::to_lower(c);
    out.append(to_str(tag));
  }
  return out;
}

nb::object read_registrant(const ReceivedMessage& request, const OwnAddresses& own) {
  std::string_view malformed;
  const auto found = sip::read_registrant(*request.message, own, malformed);
  if (!found) return to_str(malformed);
  return nb::make_tuple(found->is_sip, to_str(found->user), to_str(found->domain.host), to_str(found->registrar.host), found->registrar.is_farm,
                        tags_of(*request.message, sip::Header::require));
}

nb::tuple told(const RegisterContact& contact) {
  return nb::make_tuple(static_cast<int>(contact.fitness), to_str(contact.uri), to_str(contact.key), to_str(contact.place.host),
                        contact.place.is_farm, contact.expires_s, contact.q, to_str(contact.instance_id), contact.reg_id, contact.is_believed);
}

/// What is shown and never looked at again may be in any encoding.
nb::object shown(std::string_view bytes) {
  PyObject* text = PyUnicode_DecodeUTF8(bytes.data(), static_cast<Py_ssize_t>(bytes.size()), "replace");
  if (text == nullptr) throw nb::python_error();
  return nb::steal(text);
}

nb::tuple read_contacts(const ReceivedMessage& request, const OwnAddresses& own, std::size_t contacts_max) {
  const RegisterContacts found = sip::read_contacts(*request.message, request.hop, own, contacts_max);
  nb::list contacts;
  for (const RegisterContact& contact : found.contacts) contacts.append(told(contact));
  nb::list path;
  for (const std::string& hop : found.path) path.append(to_str(hop));
  std::string source{net::uri_text(request.hop.transport)};
  source += ':';
  request.hop.remote.append_to(source);
  return nb::make_tuple(found.count, found.has_wildcard, found.expires_s, nb::tuple(path), found.path_is_well_formed, found.edge_does_outbound,
                        found.supports_outbound, found.is_direct, to_str(source), shown(request.message->value(sip::Header::user_agent)),
                        contacts);
}

}  // namespace

void bind_register(nb::module_& module) {
  nb::class_<RegisterScreen>(module, "RegisterScreen", "Challenges REGISTERs without credentials before anybody decides on them.")
      .def(nb::init<sip::DigestGuard&, OwnAddresses>(), nb::arg("guard"), nb::arg("own"), nb::keep_alive<1, 2>())
      .def("admit", [](RegisterScreen& self, nb::str domain, std::int64_t until_ms) { self.admit(to_text(domain), until_ms); }, nb::arg("domain"),
           nb::arg("until_ms"), "A domain's REGISTERs are to be challenged, until then.")
      .def("run", &RegisterScreen::run, nb::arg("engine"), nb::arg("out"), nb::arg("now_ms"), nb::arg("wall_ms"),
           "Answer those among the events that ask for no more than a challenge; take them out.");
  module.def("read_registrant", &read_registrant, nb::arg("request"), nb::arg("own"),
             "Whom a REGISTER is for (RFC 3261 §10.3), or what is malformed in it.");
  module.def("read_contacts", &read_contacts, nb::arg("request"), nb::arg("own"), nb::arg("contacts_max"), "What a REGISTER binds (RFC 3261 §10.3).");
}

}  // namespace sipfarm::bind
