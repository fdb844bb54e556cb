#pragma once

#include <nanobind/nanobind.h>

#include <string>
#include <string_view>

#include "net/hop.hpp"
#include "rtp/plane.hpp"
#include "sip/message_pool.hpp"
#include "store/registration.hpp"

namespace sipfarm::bind {

namespace nb = nanobind;

/// A message with where it came from, as Python holds it.
struct ReceivedMessage {
  sip::MessageRef message;
  net::Hop hop;
  std::uint64_t transaction = 0;
};

/// Wire bytes as str: what is not UTF-8 stays as lone surrogates.
inline nb::str to_str(std::string_view bytes) {
  PyObject* text = PyUnicode_DecodeUTF8(bytes.data(), static_cast<Py_ssize_t>(bytes.size()), "surrogateescape");
  if (text == nullptr) throw nb::python_error();
  return nb::steal<nb::str>(text);
}

inline nb::bytes to_bytes(std::string_view bytes) { return nb::bytes(bytes.data(), bytes.size()); }

/// The bytes of a str that to_str() made, appended.
inline void append_text(std::string& out, nb::handle text) {
  Py_ssize_t size = 0;
  if (const char* utf8 = PyUnicode_AsUTF8AndSize(text.ptr(), &size); utf8 != nullptr) {
    out.append(utf8, static_cast<std::size_t>(size));
    return;
  }
  PyErr_Clear();
  nb::object encoded = nb::steal(PyUnicode_AsEncodedString(text.ptr(), "utf-8", "surrogateescape"));
  if (!encoded.is_valid()) throw nb::python_error();
  out.append(PyBytes_AsString(encoded.ptr()), static_cast<std::size_t>(PyBytes_Size(encoded.ptr())));
}

inline std::string to_text(nb::handle text) {
  std::string out;
  append_text(out, text);
  return out;
}

/// Header fields from (name, value) pairs, one line each; a value with a line break raises ValueError.
void append_header_lines(std::string& out, nb::handle pairs);

/// The live bindings after an update; None where they are its one contact.
nb::object bindings_of(const store::Registered& registered);

void bind_message(nb::module_& module);
void bind_digest(nb::module_& module);
void bind_net(nb::module_& module);
void bind_media(nb::module_& module);
void bind_bridge(nb::module_& module, nb::class_<rtp::Plane>& plane);
void bind_srtp(nb::module_& module);
void bind_codec(nb::module_& module);
std::string codec_names();  // of those built in
void bind_audio(nb::module_& module);
void bind_engine(nb::module_& module);
void bind_store(nb::module_& module);
void bind_register(nb::module_& module);
void bind_express(nb::module_& module);

}  // namespace sipfarm::bind
