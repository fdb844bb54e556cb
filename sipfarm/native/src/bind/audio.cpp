#include <algorithm>
#include <cstring>
#include <vector>

#include "audio/mixer.hpp"
#include "bind/bind.hpp"

namespace sipfarm::bind {

namespace {

using audio::Mixer;
using audio::PartyId;

std::vector<std::int16_t> pcm_from(nb::bytes bytes) {
  if (bytes.size() % sizeof(std::int16_t) != 0) throw nb::value_error("a sample has two bytes");
  std::vector<std::int16_t> pcm(bytes.size() / sizeof(std::int16_t));
  std::memcpy(pcm.data(), bytes.c_str(), bytes.size());
  return pcm;
}

nb::bytes bytes_of(audio::ConstPcm pcm) { return nb::bytes(pcm.data(), pcm.size_bytes()); }

void input(Mixer& mixer, PartyId party, nb::bytes frame) {
  const auto pcm = pcm_from(frame);
  if (pcm.size() != mixer.samples()) throw nb::value_error("a frame has 20 ms");
  std::copy(pcm.begin(), pcm.end(), mixer.input(party).begin());
  mixer.arrived(party);
}

nb::object active_of(const Mixer& mixer) {
  const auto active = mixer.speakers().active();
  return active ? nb::object(nb::int_(*active)) : nb::none();
}

}  // namespace

void bind_audio(nb::module_& module) {
  nb::class_<Mixer>(module, "Mixer", "The core of a conference; here for tests, rooms mix natively.")
      .def("__init__",
           [](Mixer* self, std::uint32_t sample_rate_hz, std::size_t parties_max, std::size_t links_max, std::size_t delay_ticks_max) {
             new (self) Mixer({sample_rate_hz, parties_max, links_max, delay_ticks_max});
           },
           nb::arg("sample_rate_hz"), nb::arg("parties_max"), nb::arg("links_max") = 256, nb::arg("delay_ticks_max") = 0)
      .def("join",
           [](Mixer& self, bool player) {
             const auto party = self.join(player ? Mixer::Role::player : Mixer::Role::party);
             if (!party) throw nb::value_error("the conference is full");
             return *party;
           },
           nb::arg("player") = false)
      .def("leave", &Mixer::leave, nb::arg("party"))
      .def("set_muted", &Mixer::set_muted, nb::arg("party"), nb::arg("muted"))
      .def("set_deaf", &Mixer::set_deaf, nb::arg("party"), nb::arg("deaf"))
      .def("set_gain", &Mixer::set_gain, nb::arg("party"), nb::arg("db"))
      .def("set_volume", &Mixer::set_volume, nb::arg("party"), nb::arg("db"))
      .def("set_gain_between", &Mixer::set_gain_between, nb::arg("listener"), nb::arg("speaker"), nb::arg("db"))
      .def("set_whispering", &Mixer::set_whispering, nb::arg("speaker"), nb::arg("whispering"))
      .def("choose_whispered_to", &Mixer::choose_whispered_to, nb::arg("speaker"), nb::arg("listener"), nb::arg("chosen"))
      .def("set_loudest", &Mixer::set_loudest, nb::arg("k"))
      .def("set_gate", &Mixer::set_gate, nb::arg("dbov"))
      .def("set_delay", &Mixer::set_delay, nb::arg("ticks"))
      .def("input", &input, nb::arg("party"), nb::arg("frame"))
      .def("mix", &Mixer::mix)
      .def("heard", &Mixer::heard, nb::arg("party"))
      .def("buffer", [](const Mixer& self, Mixer::BufferId id) { return bytes_of(self.buffer(id)); }, nb::arg("number"))
      .def("talking", [](const Mixer& self, PartyId party) { return self.speakers().talking(party); }, nb::arg("party"))
      .def_prop_ro("active", &active_of);
}

}  // namespace sipfarm::bind
