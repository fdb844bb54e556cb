// ITU-T E.180 Supplement 2, "Various tones used in national networks".
#include <algorithm>
#include <array>

#include "audio/tones.hpp"

namespace sipfarm::audio {

namespace {

struct Country {
  std::string_view dial;
  std::string_view ring_back;
  std::string_view busy;
  std::string_view congestion;
};

constexpr std::string_view k_special_information = "950/330,1400/330,1800/330,0/1000";  // ITU-T E.180 §6

constexpr std::array<std::string_view, 36> k_names = {
    "at", "au", "be", "br", "ca", "ch", "cl", "cn", "cz", "de", "dk", "es", "fi", "fr", "gb", "gr", "hu", "il",
    "in", "it", "jp", "lt", "mx", "my", "nl", "no", "nz", "pl", "pt", "ru", "se", "sg", "th", "tr", "us", "za"};

constexpr std::array<Country, k_names.size()> k_countries = {{
    /* at */ {"420", "420/1000,0/5000", "420/400,0/400", "420/200,0/200"},
    /* au */ {"413+438", "413+438/400,0/200,413+438/400,0/2000", "425/375,0/375", "425/375,0/375,420/375,0/375"},
    /* be */ {"425", "425/1000,0/3000", "425/500,0/500", "425/167,0/167"},
    /* br */ {"425", "425/1000,0/4000", "425/250,0/250", "425/250,0/250,425/750,0/250"},
    /* ca */ {"350+440", "440+480/2000,0/4000", "480+620/500,0/500", "480+620/250,0/250"},
    /* ch */ {"425", "425/1000,0/4000", "425/500,0/500", "425/200,0/200"},
    /* cl */ {"400", "400/1000,0/3000", "400/500,0/500", "400/200,0/200"},
    /* cn */ {"450", "450/1000,0/4000", "450/350,0/350", "450/700,0/700"},
    /* cz */ {"425/330,0/330,425/660,0/660", "425/1000,0/4000", "425/330,0/330", "425/165,0/165"},
    /* de */ {"425", "425/1000,0/4000", "425/480,0/480", "425/240,0/240"},
    /* dk */ {"425", "425/1000,0/4000", "425/500,0/500", "425/200,0/200"},
    /* es */ {"425", "425/1500,0/3000", "425/200,0/200", "425/200,0/200,425/200,0/200,425/200,0/600"},
    /* fi */ {"425", "425/1000,0/4000", "425/300,0/300", "425/200,0/200"},
    /* fr */ {"440", "440/1500,0/3500", "440/500,0/500", "440/250,0/250"},
    /* gb */ {"350+440", "400+450/400,0/200,400+450/400,0/2000", "400/375,0/375", "400/400,0/350,400/225,0/525"},
    /* gr */ {"425/200,0/300,425/700,0/800", "425/1000,0/4000", "425/300,0/300", "425/200,0/200"},
    /* hu */ {"425", "425/1250,0/3750", "425/300,0/300", "425/300,0/300"},
    /* il */ {"414", "414/1000,0/3000", "414/500,0/500", "414/250,0/250"},
    /* in */ {"400*25", "400*25/400,0/200,400*25/400,0/2000", "400/750,0/750", "400/250,0/250"},
    /* it */ {"425/200,0/200,425/600,0/1000", "425/1000,0/4000", "425/500,0/500", "425/200,0/200"},
    /* jp */ {"400", "400*16/1000,0/2000", "400/500,0/500", "400/500,0/500"},
    /* lt */ {"425", "425/1000,0/4000", "425/350,0/350", "425/200,0/200"},
    /* mx */ {"425", "425/1000,0/4000", "425/250,0/250", "425/250,0/250"},
    /* my */ {"425", "425/400,0/200,425/400,0/2000", "425/500,0/500", "425/500,0/500"},
    /* nl */ {"425", "425/1000,0/4000", "425/500,0/500", "425/250,0/250"},
    /* no */ {"425", "425/1000,0/4000", "425/500,0/500", "425/200,0/200"},
    /* nz */ {"400", "400+450/400,0/200,400+450/400,0/2000", "400/500,0/500", "400/250,0/250"},
    /* pl */ {"425", "425/1000,0/4000", "425/500,0/500", "425/500,0/500"},
    /* pt */ {"425", "425/1000,0/5000", "425/500,0/500", "425/200,0/200"},
    /* ru */ {"425", "425/1000,0/4000", "425/350,0/350", "425/175,0/175"},
    /* se */ {"425", "425/1000,0/5000", "425/250,0/250", "425/250,0/750"},
    /* sg */ {"425", "425*24/400,0/200,425*24/400,0/2000", "425/750,0/750", "425/250,0/250"},
    /* th */ {"400*50", "400/1000,0/4000", "400/500,0/500", "400/300,0/300"},
    /* tr */ {"450", "450/2000,0/4000", "450/500,0/500", "450/200,0/200,450/200,0/200,450/200,0/200,450/600,0/200"},
    /* us */ {"350+440", "440+480/2000,0/4000", "480+620/500,0/500", "480+620/250,0/250"},
    /* za */ {"400*33", "400*33/400,0/200,400*33/400,0/2000", "400/500,0/500", "400/250,0/250"},
}};

constexpr bool all_parse() {
  return std::all_of(k_countries.begin(), k_countries.end(), [](const Country& country) {
    return Cadence::parse(country.dial) && Cadence::parse(country.ring_back) && Cadence::parse(country.busy) && Cadence::parse(country.congestion);
  });
}
static_assert(all_parse());
static_assert(std::is_sorted(k_names.begin(), k_names.end()));

}  // namespace

std::optional<Cadence> call_progress_tone(std::string_view country, CallProgress tone) noexcept {
  const auto name = std::lower_bound(k_names.begin(), k_names.end(), country);
  if (name == k_names.end() || *name != country) return std::nullopt;
  const Country& found = k_countries[static_cast<std::size_t>(name - k_names.begin())];
  switch (tone) {
    case CallProgress::dial: return Cadence::parse(found.dial);
    case CallProgress::ring_back: return Cadence::parse(found.ring_back);
    case CallProgress::busy: return Cadence::parse(found.busy);
    case CallProgress::congestion: return Cadence::parse(found.congestion);
    case CallProgress::special_information: return Cadence::parse(k_special_information);
  }
  return std::nullopt;
}

std::span<const std::string_view> countries_with_tones() noexcept { return k_names; }

}  // namespace sipfarm::audio
