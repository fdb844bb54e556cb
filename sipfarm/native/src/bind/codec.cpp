#include "codec/codec.hpp"

#include <nanobind/stl/string.h>

#include <algorithm>
#include <array>
#include <vector>

#include "bind/bind.hpp"

namespace sipfarm::bind {

namespace {

constexpr codec::Id k_ids[] = {codec::Id::pcmu,    codec::Id::pcma, codec::Id::g722, codec::Id::opus,   codec::Id::l16,  codec::Id::g726_32,
                               codec::Id::gsm,     codec::Id::amr,  codec::Id::amr_wb, codec::Id::g729, codec::Id::speex};

codec::Id id_named(std::string_view name) {
  for (const codec::Id id : k_ids) {
    if (codec::name_of(id) == name) return id;
  }
  throw nb::value_error("no codec of that name");
}

/// PCM as Python has it: 16 bit, native order.
std::vector<std::int16_t> samples_from(const nb::bytes& pcm) {
  if (pcm.size() % sizeof(std::int16_t) != 0) throw nb::value_error("PCM is of 16 bit: an even number of bytes is needed");
  std::vector<std::int16_t> samples(pcm.size() / sizeof(std::int16_t));
  std::copy_n(static_cast<const char*>(pcm.data()), pcm.size(), reinterpret_cast<char*>(samples.data()));
  return samples;
}

nb::bytes bytes_of(codec::ConstPcm samples) { return nb::bytes(samples.data(), samples.size_bytes()); }

codec::ConstPayload payload_from(const nb::bytes& payload) { return {static_cast<const std::uint8_t*>(payload.data()), payload.size()}; }

/// A gap that a test or a tool asks for; a caller that wants more asks again.
std::vector<std::int16_t> room_for(std::size_t samples) {
  constexpr std::size_t samples_max = 10 * 48'000;
  if (samples > samples_max) throw nb::value_error("ten seconds are the most at once");
  return std::vector<std::int16_t>(samples);
}

template <class Coder>
std::unique_ptr<Coder> made(std::unique_ptr<Coder> coder, const codec::Format& format) {
  if (!coder) {
    const char* words = codec::objection(format);
    throw nb::value_error(words == nullptr ? "the library refuses" : words);
  }
  return coder;
}

nb::object mode_or_none(std::uint8_t mode) { return mode == codec::k_no_mode ? nb::object(nb::none()) : nb::object(nb::int_(mode)); }

void bind_format(nb::module_& module);

}  // namespace

std::string codec_names() {
  std::string names;
  for (const codec::Id id : k_ids) {
    if (!codec::is_built_in(id)) continue;
    if (!names.empty()) names += ',';
    names += codec::name_of(id);
  }
  return names;
}

void bind_codec(nb::module_& module) {
  bind_format(module);

  nb::class_<codec::Encoder>(module, "CodecEncoder", "PCM to payloads, as the media plane does it; for tests and tools.")
      .def(nb::new_([](const codec::Format& format) { return made(codec::make_encoder(format), format).release(); }), nb::arg("coding"))
      .def_prop_ro("quantum", &codec::Encoder::quantum, "A call takes a whole multiple of these samples.")
      .def_prop_ro("skipped", &codec::Encoder::skipped, "Samples at the start of the last call that its payload leaves out.")
      .def("encode",
           [](codec::Encoder& self, const nb::bytes& pcm) {
             const std::vector<std::int16_t> samples = samples_from(pcm);
             if (samples.size() % self.quantum() != 0 || samples.size() > codec::k_frame_ms_max * 48) throw nb::value_error("not a whole number of frames");
             std::array<std::uint8_t, codec::k_payload_bytes_max> payload;
             return nb::bytes(payload.data(), self.encode(samples, payload));
           },
           nb::arg("pcm"), "Empty: nothing is to be sent now.")
      .def("request_mode", &codec::Encoder::request_mode, nb::arg("mode"))
      .def("expect_loss", &codec::Encoder::expect_loss, nb::arg("percent"));

  nb::class_<codec::Decoder>(module, "CodecDecoder", "Payloads to PCM, as the media plane does it; for tests and tools.")
      .def(nb::new_([](const codec::Format& format) { return made(codec::make_decoder(format), format).release(); }), nb::arg("coding"))
      .def("duration", [](const codec::Decoder& self, const nb::bytes& payload) { return self.duration(payload_from(payload)); },
           nb::arg("payload"), "Samples; 0: not a payload of this codec.")
      .def("decode",
           [](codec::Decoder& self, const nb::bytes& payload) {
             std::vector<std::int16_t> samples(codec::k_frame_ms_max * 48);
             return bytes_of(codec::Pcm{samples}.first(self.decode(payload_from(payload), samples)));
           },
           nb::arg("payload"), "Empty: undecodable.")
      .def("conceal",
           [](codec::Decoder& self, std::size_t count) {
             std::vector<std::int16_t> samples = room_for(count);
             self.conceal(samples);
             return bytes_of(samples);
           },
           nb::arg("samples"))
      .def("recover",
           [](codec::Decoder& self, const nb::bytes& next, std::size_t count) {
             std::vector<std::int16_t> samples = room_for(count);
             self.recover(payload_from(next), samples);
             return bytes_of(samples);
           },
           nb::arg("following"), nb::arg("samples"), "The packet before `following` is lost.")
      .def_prop_ro("requested_mode", [](const codec::Decoder& self) { return mode_or_none(self.requested_mode()); });
}

namespace {

void bind_format(nb::module_& module) {
  nb::class_<codec::Format>(module, "CodecFormat", "One encoding as offer and answer left it: what the media plane is told.")
      .def("__init__",
           [](codec::Format* self, const std::string& name, std::uint32_t clock_rate_hz, std::uint32_t sample_rate_hz, std::uint8_t channels,
              std::uint32_t bitrate, std::uint32_t max_playback_rate_hz, std::uint16_t mode_set, nb::object mode, nb::object complexity,
              bool octet_aligned, bool fec, bool dtx, bool cbr, bool vbr, bool stereo, bool annexb) {
             codec::Format format;
             format.id = id_named(name);
             format.clock_rate_hz = clock_rate_hz;
             format.sample_rate_hz = sample_rate_hz;
             format.channels = channels;
             format.bitrate = bitrate;
             format.max_playback_rate_hz = max_playback_rate_hz;
             format.mode_set = mode_set;
             if (!mode.is_none()) format.mode = nb::cast<std::uint8_t>(mode);
             if (!complexity.is_none()) format.complexity = static_cast<std::uint8_t>(nb::cast<std::uint8_t>(complexity) + 1);
             format.octet_aligned = octet_aligned;
             format.fec = fec;
             format.dtx = dtx;
             format.cbr = cbr;
             format.vbr = vbr;
             format.stereo = stereo;
             format.annexb = annexb;
             new (self) codec::Format(format);
           },
           nb::arg("name"), nb::arg("clock_rate_hz"), nb::arg("sample_rate_hz"), nb::kw_only(), nb::arg("channels") = 1, nb::arg("bitrate") = 0,
           nb::arg("max_playback_rate_hz") = 0, nb::arg("mode_set") = 0, nb::arg("mode").none() = nb::none(),
           nb::arg("complexity").none() = nb::none(), nb::arg("octet_aligned") = false, nb::arg("fec") = false, nb::arg("dtx") = false,
           nb::arg("cbr") = false, nb::arg("vbr") = false, nb::arg("stereo") = false, nb::arg("annexb") = true)
      .def_prop_ro("name", [](const codec::Format& self) { return to_str(codec::name_of(self.id)); })
      .def_ro("clock_rate_hz", &codec::Format::clock_rate_hz)
      .def_ro("sample_rate_hz", &codec::Format::sample_rate_hz)
      .def_ro("channels", &codec::Format::channels)
      .def_ro("bitrate", &codec::Format::bitrate)
      .def_ro("max_playback_rate_hz", &codec::Format::max_playback_rate_hz)
      .def_ro("mode_set", &codec::Format::mode_set)
      .def_prop_ro("mode",
                   [](const codec::Format& self) { return mode_or_none(self.mode); })
      .def_prop_ro("complexity",
                   [](const codec::Format& self) -> nb::object {
                     return self.complexity == 0 ? nb::object(nb::none()) : nb::object(nb::int_(self.complexity - 1));
                   })
      .def_ro("octet_aligned", &codec::Format::octet_aligned)
      .def_ro("fec", &codec::Format::fec)
      .def_ro("dtx", &codec::Format::dtx)
      .def_ro("cbr", &codec::Format::cbr)
      .def_ro("vbr", &codec::Format::vbr)
      .def_ro("stereo", &codec::Format::stereo)
      .def_ro("annexb", &codec::Format::annexb)
      .def_prop_ro("objection",
                   [](const codec::Format& self) -> nb::object {
                     const char* words = codec::objection(self);
                     return words == nullptr ? nb::object(nb::none()) : nb::object(nb::str(words));
                   },
                   "Why this build cannot do it; None: it can.")
      .def_prop_ro("ptime_ms_max", &codec::ptime_ms_max, "How much of it fits into one payload.")
      .def("__eq__", [](const codec::Format& self, nb::handle other) {
        return nb::isinstance<codec::Format>(other) && self == nb::cast<const codec::Format&>(other);
      }, nb::arg("other").none())
      .def("__hash__", [](const codec::Format& self) {
        return nb::hash(nb::make_tuple(static_cast<int>(self.id), self.clock_rate_hz, self.sample_rate_hz, self.bitrate, self.mode_set));
      })
      .def("__repr__", [](const codec::Format& self) {
        return std::string("CodecFormat(") + std::string(codec::name_of(self.id)) + "/" + std::to_string(self.clock_rate_hz) + ", " +
               std::to_string(self.sample_rate_hz) + " Hz)";
      });
}

}  // namespace

}  // namespace sipfarm::bind
