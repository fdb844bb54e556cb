#include "bind/protect.hpp"

#include <nanobind/stl/string.h>

#include <algorithm>

namespace sipfarm::bind {

namespace {

using sip::Engine;
using sip::fault_names;

nb::list bans_of(Engine& self, std::int64_t now_ms) {
  nb::list out;
  for (const sip::Ban& ban : self.protect().bans(now_ms)) {
    out.append(nb::make_tuple(to_str(ban.address.host()), ban.until_ms - now_ms, fault_names[static_cast<std::size_t>(ban.fault)]));
  }
  return out;
}

void blame(Engine& self, const net::Hop& source, nb::str fault, std::int64_t now_ms, sip::Output& out) {
  const auto found = std::find(fault_names.begin(), fault_names.end(), to_text(fault));
  if (found == fault_names.end()) throw nb::value_error("no such fault");
  self.blame(source, static_cast<sip::Fault>(found - fault_names.begin()), now_ms, out);
}

bool unban(Engine& self, nb::str address, std::int64_t now_ms) {
  const auto parsed = net::Address::parse(to_text(address), 0);
  return parsed && self.protect().unban(*parsed, now_ms);
}

}  // namespace

nb::dict faults_of(Engine& engine) {
  nb::dict out;
  for (std::size_t i = 0; i < fault_names.size(); ++i) out[fault_names[i]] = engine.protect().counters().faults[i];
  return out;
}

void bind_protection(nb::module_& module) {
  nb::class_<sip::ProtectConfig>(module, "Protection", "How new work is held off by its source.")
      .def("__init__",
           [](sip::ProtectConfig* self, std::int64_t unproven_per_s, std::int64_t unproven_total_per_s, std::int64_t faults_max,
              std::int64_t fault_forgiven_ms, std::int64_t ban_ms, nb::handle exempt) {
             sip::ProtectConfig config;
             config.enabled = true;
             config.unproven_per_s = unproven_per_s;
             config.unproven_total_per_s = unproven_total_per_s;
             config.faults_max = faults_max;
             config.fault_forgiven_ms = fault_forgiven_ms;
             config.ban_ms = ban_ms;
             for (nb::handle given : exempt) {
               const auto address = net::Address::parse(nb::cast<std::string>(given[0]), 0);
               if (!address) throw nb::value_error("a network begins with an IP literal");
               config.exempt.push_back({*address, nb::cast<std::uint8_t>(given[1])});
             }
             new (self) sip::ProtectConfig{std::move(config)};
           },
           nb::kw_only(), nb::arg("unproven_per_s"), nb::arg("unproven_total_per_s"), nb::arg("faults_max"), nb::arg("fault_forgiven_ms"),
           nb::arg("ban_ms"), nb::arg("exempt"));
}

void bind_protection(nb::class_<Engine>& engine) {
  engine.def("prove", &Engine::prove, nb::arg("source"), nb::arg("now_ms"), nb::arg("out"))
      .def("blame", &blame, nb::arg("source"), nb::arg("fault"), nb::arg("now_ms"), nb::arg("out"))
      .def("bans", &bans_of, nb::arg("now_ms"), "(address, the ms it has left, fault) of each that is banned.")
      .def("unban", &unban, nb::arg("address"), nb::arg("now_ms"));
}

}  // namespace sipfarm::bind
