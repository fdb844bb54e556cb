#include <nanobind/stl/string.h>

#include <algorithm>

#include "bind/bind.hpp"
#include "srtp/keying.hpp"

namespace sipfarm::bind {

namespace {

std::span<const std::uint8_t> view(const nb::bytes& bytes) {
  return {static_cast<const std::uint8_t*>(bytes.data()), bytes.size()};
}

srtp::Keying keying_from(const std::string& suite_name, const nb::bytes& key_and_salt, const nb::bytes& mki,
                         std::uint64_t rtp_packets_max) {
  const auto suite = srtp::suite_named(suite_name);
  if (!suite) throw nb::value_error("no crypto-suite that we have");
  auto keying = srtp::Keying::make(*suite, view(key_and_salt), view(mki));
  if (!keying) throw nb::value_error("key, salt or MKI is of another length than the suite's");
  keying->rtp_packets_max = std::min(rtp_packets_max, srtp::k_rtp_packets_max);
  return *keying;
}

}  // namespace

void bind_srtp(nb::module_& module) {
  nb::class_<srtp::Keying>(module, "SrtpKeying", "Master key and salt of one direction, wiped when it goes.")
      .def("__init__",
           [](srtp::Keying* self, const std::string& suite, const nb::bytes& key_and_salt, const nb::bytes& mki,
              std::uint64_t rtp_packets_max) {
             new (self) srtp::Keying(keying_from(suite, key_and_salt, mki, rtp_packets_max));
           },
           nb::arg("suite"), nb::arg("key_and_salt"), nb::arg("mki") = nb::bytes("", 0),
           nb::arg("rtp_packets_max") = srtp::k_rtp_packets_max)
      .def("__repr__", [](const srtp::Keying&) { return "SrtpKeying(***)"; });
}

}  // namespace sipfarm::bind
