#include <nanobind/stl/string.h>
#include <nanobind/stl/string_view.h>

#include <memory>

#include "bind/bind.hpp"
#include "sip/headers.hpp"
#include "sip/message.hpp"
#include "sip/text.hpp"
#include "sip/uri.hpp"

namespace sipfarm::bind {

namespace {

using sip::Header;
using sip::Line;
using sip::Message;

nb::str unfolded(std::string_view value) {
  if (value.find('\n') == std::string_view::npos) return to_str(value);
  std::string out;
  sip::text::append_unfolded(out, value);
  return to_str(out);
}

/// Calls visit(value of the line) for each line of that name, until it answers false.
template <typename Visit>
void each_line(const Message& message, std::string_view name, Visit visit) {
  const Header header = sip::header_of(name);
  for (const Line& line : message.lines()) {
    if (line.header != header) continue;
    if (header == Header::other && !sip::text::iequals(message.name(line), name)) continue;
    if (!visit(message.value(line))) return;
  }
}

nb::object first_header(const ReceivedMessage& self, std::string_view name) {
  const Header header = sip::header_of(name);
  if (header != Header::other) {
    const Line* line = self.message->find(header);
    return line == nullptr ? nb::object(nb::none()) : nb::object(unfolded(self.message->value(*line)));
  }
  nb::object found = nb::none();
  each_line(*self.message, name, [&](std::string_view value) {
    found = unfolded(value);
    return false;
  });
  return found;
}

nb::list all_headers(const ReceivedMessage& self, std::string_view name) {
  nb::list out;
  each_line(*self.message, name, [&](std::string_view value) {
    out.append(unfolded(value));
    return true;
  });
  return out;
}

nb::list all_values(const ReceivedMessage& self, std::string_view name) {
  nb::list out;
  each_line(*self.message, name, [&](std::string_view line) {
    sip::ValueCursor values{line};
    for (std::string_view value; values.next(value);) out.append(unfolded(value));
    return true;
  });
  return out;
}

ReceivedMessage parse_message(nb::bytes wire, const net::Hop& hop) {
  static sip::MessagePool pool;
  bool ok = false;
  ReceivedMessage out;
  out.hop = hop;
  out.message = pool.parse({wire.c_str(), wire.size()}, ok);
  if (!ok) {
    const sip::ParseFailure& failure = out.message->failure();
    const std::string reason = std::to_string(failure.status) + " " + (failure.reason != nullptr ? failure.reason : "malformed");
    throw nb::value_error(reason.c_str());
  }
  return out;
}

nb::dict params_of(std::string_view params) {
  nb::dict out;
  sip::ParamCursor cursor{params};
  for (sip::Param param; cursor.next(param);) {
    std::string name{param.name};
    for (char& c : name) c = sip::text::to_lower(c);
    std::string value;
    if (param.quoted) {
      sip::text::append_unquoted(value, param.value);
    } else {
      value = param.value;
    }
    out[to_str(name)] = to_str(value);
  }
  return out;
}

/// URI parameters may hold characters that header parameters may not, so they are cut by hand (RFC 3261 §25.1 uri-parameters).
nb::dict uri_params_of(std::string_view params) {
  nb::dict out;
  while (!params.empty()) {
    const std::size_t end = params.find(';');
    const std::string_view param = params.substr(0, end);
    params = end == std::string_view::npos ? std::string_view{} : params.substr(end + 1);
    if (param.empty()) continue;
    const std::size_t equals = param.find('=');
    std::string name{param.substr(0, equals)};
    for (char& c : name) c = sip::text::to_lower(c);
    std::string value;
    if (equals != std::string_view::npos) sip::text::append_unescaped(value, param.substr(equals + 1));
    out[to_str(name)] = to_str(value);
  }
  return out;
}

/// Owns the text that a parsed Uri looks into.
class OwnedUri {
 public:
  explicit OwnedUri(std::string text) : text_{std::make_unique<std::string>(std::move(text))} {
    const auto uri = sip::Uri::parse(*text_);
    if (!uri) throw nb::value_error("malformed URI");
    uri_ = *uri;
  }
  const sip::Uri& operator*() const noexcept { return uri_; }
  const sip::Uri* operator->() const noexcept { return &uri_; }

 private:
  std::unique_ptr<std::string> text_;
  sip::Uri uri_;
};

class OwnedNameAddr {
 public:
  explicit OwnedNameAddr(std::string text) : text_{std::make_unique<std::string>(std::move(text))} {
    const auto parsed = sip::NameAddr::parse(*text_);
    if (!parsed) throw nb::value_error("malformed name-addr");
    value_ = *parsed;
  }
  const sip::NameAddr* operator->() const noexcept { return &value_; }

 private:
  std::unique_ptr<std::string> text_;
  sip::NameAddr value_;
};

std::string_view scheme_of(const sip::Uri& uri) noexcept {
  switch (uri.scheme) {
    case sip::Uri::Scheme::sip: return "sip";
    case sip::Uri::Scheme::sips: return "sips";
    case sip::Uri::Scheme::tel: return "tel";
    default: return uri.scheme_text;
  }
}

}  // namespace

void append_header_lines(std::string& out, nb::handle pairs) {
  for (nb::handle pair : pairs) {
    append_text(out, pair[0]);
    out += ": ";
    const std::size_t begin = out.size();
    append_text(out, pair[1]);
    if (out.find_first_of("\r\n", begin) != std::string::npos) throw nb::value_error("a header value must not hold a line break");
    out += "\r\n";
  }
}

void bind_message(nb::module_& module) {
  nb::class_<ReceivedMessage>(module, "Message", "A SIP message: wire bytes and an index (RFC 3261 §7); immutable.")
      .def("__init__", [](ReceivedMessage* self, nb::bytes wire, const net::Hop& hop) { new (self) ReceivedMessage(parse_message(wire, hop)); },
           nb::arg("wire"), nb::arg("hop"), "As it came over this hop. Raises ValueError as `parse` does.")
      .def_static("parse", [](nb::bytes wire) { return parse_message(wire, {}); }, nb::arg("wire"), "Raises ValueError with the status an answer would carry and the reason.")
      .def_prop_ro("is_request", [](const ReceivedMessage& self) { return self.message->is_request(); })
      .def_prop_ro("method", [](const ReceivedMessage& self) { return to_str(self.message->method_text()); })
      .def_prop_ro("request_uri", [](const ReceivedMessage& self) { return to_str(self.message->request_uri()); })
      .def_prop_ro("status", [](const ReceivedMessage& self) { return self.message->status(); })
      .def_prop_ro("reason_phrase", [](const ReceivedMessage& self) { return to_str(self.message->reason_phrase()); })
      .def_prop_ro("wire", [](const ReceivedMessage& self) { return to_bytes(self.message->wire()); })
      .def_prop_ro("body", [](const ReceivedMessage& self) { return to_bytes(self.message->body()); })
      .def_prop_ro("call_id", [](const ReceivedMessage& self) { return to_str(self.message->call_id()); })
      .def_prop_ro("from_tag", [](const ReceivedMessage& self) { return to_str(self.message->from_tag()); })
      .def_prop_ro("to_tag", [](const ReceivedMessage& self) { return to_str(self.message->to_tag()); })
      .def_prop_ro("cseq", [](const ReceivedMessage& self) { return self.message->cseq(); })
      .def_prop_ro("max_forwards", [](const ReceivedMessage& self) { return self.message->max_forwards(); })
      .def_prop_ro("transaction", [](const ReceivedMessage& self) { return self.transaction; })
      .def_prop_ro("hop", [](const ReceivedMessage& self) { return self.hop; })
      .def_prop_ro("transport", [](const ReceivedMessage& self) { return to_str(net::uri_text(self.hop.transport)); })
      .def_prop_ro("source",
                   [](const ReceivedMessage& self) { return nb::make_tuple(to_str(self.hop.remote.host()), self.hop.remote.port); })
      .def("header", &first_header, nb::arg("name"), "The first value, unfolded; compact forms and any case.")
      .def("headers", &all_headers, nb::arg("name"), "The value of each line, unfolded.")
      .def("values", &all_values, nb::arg("name"), "The comma-separated values of all lines, unfolded.");

  nb::class_<OwnedUri>(module, "Uri", "A SIP, SIPS or tel URI (RFC 3261 §19.1, RFC 3966).")
      .def_static("parse", [](nb::str text) { return OwnedUri{to_text(text)}; }, nb::arg("text"), "Raises ValueError.")
      .def_prop_ro("scheme", [](const OwnedUri& self) { return to_str(scheme_of(*self)); })
      .def_prop_ro("user", [](const OwnedUri& self) { return to_str(self->user); })
      .def_prop_ro("password", [](const OwnedUri& self) { return to_str(self->password); })
      .def_prop_ro("host", [](const OwnedUri& self) { return to_str(self->host); })
      .def_prop_ro("port", [](const OwnedUri& self) { return self->port; })
      .def_prop_ro("params", [](const OwnedUri& self) { return uri_params_of(self->params); })
      .def_prop_ro("text", [](const OwnedUri& self) { return to_str(self->text); })
      .def("aor", [](const OwnedUri& self) { return to_str(self->aor()); })
      .def("__eq__", [](const OwnedUri& self, const OwnedUri& other) { return *self == *other; })
      .def("__hash__", [](const OwnedUri& self) { return static_cast<Py_hash_t>(self->hash() >> 1); })
      .def("__str__", [](const OwnedUri& self) { return to_str(self->text); });

  nb::class_<OwnedNameAddr>(module, "NameAddr", "name-addr or addr-spec with its header parameters (RFC 3261 §20.10).")
      .def_static("parse", [](nb::str text) { return OwnedNameAddr{to_text(text)}; }, nb::arg("text"), "Raises ValueError.")
      .def_prop_ro("display",
                   [](const OwnedNameAddr& self) {
                     std::string out;
                     sip::text::append_unquoted(out, self->display);
                     return to_str(out);
                   })
      .def_prop_ro("uri", [](const OwnedNameAddr& self) { return OwnedUri{std::string{self->uri}}; })
      .def_prop_ro("params", [](const OwnedNameAddr& self) { return params_of(self->params); });
}

}  // namespace sipfarm::bind
