#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/vector.h>

#include "bind/bind.hpp"
#include "rtp/bridge_plan.hpp"
#include "rtp/plane.hpp"

namespace sipfarm::bind {

namespace {

using Coded = std::pair<std::uint8_t, codec::Format>;
using Beside = std::pair<std::uint8_t, std::uint32_t>;

std::uint8_t payload_type(std::uint8_t number) {
  if (number > 127) throw nb::value_error("payload types are 0..127");
  return number;
}

rtp::PayloadFormat coded(const Coded& pair) { return {payload_type(pair.first), pair.second}; }

rtp::BesideFormat beside(const Beside& pair) {
  if (pair.second == 0) throw nb::value_error("a clock rate of 0");
  return {payload_type(pair.first), pair.second};
}

std::vector<rtp::BesideFormat> beside_all(const std::vector<Beside>& pairs) {
  std::vector<rtp::BesideFormat> all;
  for (const Beside& pair : pairs) all.push_back(beside(pair));
  return all;
}

}  // namespace

void bind_bridge(nb::module_& module, nb::class_<rtp::Plane>& plane) {
  nb::class_<rtp::BridgeSide>(module, "BridgeSide", "One side of a bridge: what comes from there, and what is sent there.")
      .def("__init__",
           [](rtp::BridgeSide* self, const std::vector<Coded>& receive, const Coded& send, unsigned ptime_ms,
              const std::vector<Beside>& receive_events, const std::optional<Beside>& send_events, const std::vector<Beside>& receive_noise,
              const std::optional<Beside>& send_noise, bool listens) {
             rtp::BridgeSide side;
             for (const Coded& pair : receive) side.receive.push_back(coded(pair));
             side.send = coded(send);
             side.ptime_ms = ptime_ms;
             side.receive_events = beside_all(receive_events);
             if (send_events) side.send_events = beside(*send_events);
             side.receive_noise = beside_all(receive_noise);
             if (send_noise) side.send_noise = beside(*send_noise);
             side.listens = listens;
             new (self) rtp::BridgeSide(std::move(side));
           },
           nb::kw_only(), nb::arg("receive"), nb::arg("send"), nb::arg("ptime_ms") = 20, nb::arg("receive_events") = nb::list(),
           nb::arg("send_events").none() = nb::none(), nb::arg("receive_noise") = nb::list(), nb::arg("send_noise").none() = nb::none(),
           nb::arg("listens") = true);

  plane.def("set_bridge",
            [](rtp::Plane& self, std::uint64_t stream, const rtp::BridgeSide& a, const rtp::BridgeSide& b) {
              const rtp::BridgePlan plan{{a, b}};
              if (const char* objection = self.set_bridge(stream, &plan)) throw nb::value_error(objection);
            },
            nb::arg("stream"), nb::arg("a"), nb::arg("b"),
            "An open relay's sides have different codecs from now on. Raises ValueError where that cannot be done.")
      .def("set_plain",
           [](rtp::Plane& self, std::uint64_t stream) {
             if (const char* objection = self.set_bridge(stream, nullptr)) throw nb::value_error(objection);
           },
           nb::arg("stream"), "A bridge is a plain relay again.");
}

}  // namespace sipfarm::bind
