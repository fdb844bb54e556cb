#include <doctest/doctest.h>

#include <cstdint>
#include <random>
#include <vector>

#include "hearing.hpp"

using namespace sipfarm::loadtests;

namespace {

const AudioCodec& k_pcmu = k_codecs[0];
const Spectrum& spectrum() {
  static const Spectrum at_8_khz{8'000};
  return at_8_khz;
}

/// A call's far end: packets of a code, one after another, with what may happen to them.
struct FarEnd {
  explicit FarEnd(std::uint16_t code, const AudioCodec& spoken = k_pcmu) : codec{spoken}, speech{Voice{spoken}.say(code)} {}

  AudioCodec codec;
  Speech speech;
  std::uint32_t ssrc = 7;
  std::uint16_t sequence = 65'530;
  std::uint32_t timestamp = 0xffff'f000;
  std::size_t frame = 0;

  std::vector<std::uint8_t> next() {
    const std::vector<std::uint8_t>& payload = speech[frame++ % k_word_frames];
    std::vector<std::uint8_t> packet{0x80, codec.payload_type, static_cast<std::uint8_t>(sequence >> 8), static_cast<std::uint8_t>(sequence)};
    for (const std::uint32_t word : {timestamp, ssrc}) {
      for (unsigned shift = 32; shift > 0; shift -= 8) packet.push_back(static_cast<std::uint8_t>(word >> (shift - 8)));
    }
    packet.insert(packet.end(), payload.begin(), payload.end());
    ++sequence;
    timestamp += codec.frame_ticks();
    return packet;
  }
};

Hearing listener() { return Hearing{spectrum(), Ear{k_pcmu}}; }

/// The words in samples of 8 kHz, by number.
std::vector<std::uint16_t> words_in(const std::vector<std::int16_t>& pcm) {
  CodeReader reader;
  std::vector<std::uint16_t> found;
  for (std::size_t at = 0; at + 160 <= pcm.size(); at += 160) {
    const CodeReader::Words words = reader.push(spectrum().analyse(std::span{pcm}.subspan(at, 160)));
    if (words.loudest) found.push_back(words.loudest->number);
    if (words.beside) found.push_back(words.beside->number);
  }
  return found;
}

void add_code(std::vector<std::int16_t>& pcm, std::uint16_t number, std::size_t from, double level_dbfs) {
  for (std::size_t at = from, symbol = 0; at < pcm.size(); ++symbol) {
    for (const float value : symbol_wave(word_of(number)[symbol % k_symbols], 8'000, level_dbfs)) {
      if (at < pcm.size()) pcm[at++] += static_cast<std::int16_t>(value * 32'767.0F);
    }
  }
}

std::size_t count_of(const std::vector<std::uint16_t>& words, std::uint16_t number) {
  return static_cast<std::size_t>(std::count(words.begin(), words.end(), number));
}

}  // namespace

TEST_CASE("tones: G.711 by table is what the recommendation says") {
  const G711 mu{Law::mu};
  const G711 a{Law::a};
  CHECK(mu.expand(0xff) == 0);
  CHECK(mu.expand(0x80) == 32'124);
  CHECK(mu.expand(0x00) == -32'124);
  CHECK(a.expand(0xd5) == 8);
  CHECK(a.expand(0xaa) == 32'256);
  CHECK(a.expand(0x2a) == -32'256);
  for (unsigned code = 0; code < 256; ++code) {
    const auto byte = static_cast<std::uint8_t>(code);
    CHECK(a.compress(a.expand(byte)) == byte);
    if (code != 0xff) CHECK(mu.compress(mu.expand(byte)) == byte);  // +0 is -0
  }
}

TEST_CASE("tones: a code is read whatever its alignment to the frames, and no other is") {
  for (std::size_t offset = 0; offset < 480; offset += 17) {
    std::vector<std::int16_t> pcm(8'000 * 4);
    const auto number = static_cast<std::uint16_t>(137 * offset + 5);
    add_code(pcm, number, offset, k_level_dbfs);
    const std::vector<std::uint16_t> words = words_in(pcm);
    CAPTURE(offset);
    CHECK(count_of(words, number) >= 9);
    CHECK(count_of(words, number) == words.size());
  }
}

TEST_CASE("tones: somebody else 20 dB below is read beside the loud one") {
  for (const std::size_t offset : {400U, 1'000U, 1'500U, 2'100U}) {
    std::vector<std::int16_t> pcm(8'000 * 10);
    add_code(pcm, 274, 0, -20.0);
    add_code(pcm, 99, offset, -40.0);
    const std::vector<std::uint16_t> words = words_in(pcm);
    CAPTURE(offset);
    CHECK(count_of(words, 274) >= 24);
    CHECK(count_of(words, 99) >= 3);
  }
}

TEST_CASE("tones: noise and silence hold no code three times") {
  std::mt19937 random{1};
  std::normal_distribution<float> noise{0, 3'000};
  std::vector<std::int16_t> pcm(8'000 * 120);
  for (std::int16_t& sample : pcm) sample = static_cast<std::int16_t>(noise(random));
  std::vector<std::uint16_t> words = words_in(pcm);
  std::sort(words.begin(), words.end());
  for (std::size_t i = 2; i < words.size(); ++i) CHECK(words[i] != words[i - 2]);
  CHECK(words_in(std::vector<std::int16_t>(8'000 * 10)).empty());
}

TEST_CASE("tones: a good call is heard from its first packet to its last") {
  Hearing hearing = listener();
  FarEnd far{274};
  for (std::int64_t at_ms = 0; at_ms < 10'000; at_ms += 20) hearing.receive(far.next(), at_ms);
  const Hearing::Counters& heard = hearing.counters();
  CHECK(heard.packets == 500);
  CHECK(heard.bytes == 500 * 172);
  CHECK(heard.sources == 1);
  CHECK(heard.lost + heard.malformed + heard.other + heard.out_of_order + heard.gaps == 0);
  CHECK(heard.first_ms == 0);
  CHECK(heard.last_ms == 9'980);
  CHECK(10 * std::log10(heard.power_sum / 500) == doctest::Approx(-20).epsilon(0.01));
  REQUIRE(hearing.tallies().codes().size() == 1);
  CHECK(hearing.tallies().codes()[0].number == 274);
  CHECK(hearing.tallies().codes()[0].words == 27);
  CHECK(hearing.tallies().codes()[0].first_ms <= 20);
}

TEST_CASE("tones: what is lost is a gap of its length, and the code is read again after it") {
  Hearing hearing = listener();
  FarEnd far{9'000};
  for (std::int64_t at_ms = 0; at_ms < 10'000; at_ms += 20) {
    const std::vector<std::uint8_t> packet = far.next();
    if (at_ms < 3'000 || at_ms >= 3'400) hearing.receive(packet, at_ms);
  }
  CHECK(hearing.counters().lost == 20);
  REQUIRE(hearing.gaps().size() == 1);
  CHECK(hearing.gaps()[0].start_ms == 3'000);
  CHECK(hearing.gaps()[0].length_ms == 400);
  CHECK(hearing.tallies().codes()[0].words >= 24);
}

TEST_CASE("tones: a silent stretch of packets is a gap, whatever the sequence numbers say") {
  Hearing hearing = listener();
  FarEnd far{9'000};
  for (std::int64_t at_ms = 0; at_ms < 4'000; at_ms += 20) {
    std::vector<std::uint8_t> packet = far.next();
    if (at_ms >= 1'000 && at_ms < 1'500) std::fill(packet.begin() + 12, packet.end(), std::uint8_t{0xff});
    hearing.receive(packet, at_ms);
  }
  CHECK(hearing.counters().lost == 0);
  CHECK(hearing.counters().silent_frames == 25);
  REQUIRE(hearing.gaps().size() == 1);
  CHECK(hearing.gaps()[0].length_ms == 500);
}

TEST_CASE("tones: another source goes on where the one before left off") {
  Hearing hearing = listener();
  FarEnd first{12};
  FarEnd second{12};
  second.ssrc = 8;
  second.sequence = 100;
  second.timestamp = 5;
  second.frame = 100;
  for (std::int64_t at_ms = 0; at_ms < 4'000; at_ms += 20) hearing.receive((at_ms < 2'000 ? first : second).next(), at_ms);
  CHECK(hearing.counters().sources == 2);
  CHECK(hearing.counters().lost == 0);
  CHECK(hearing.counters().gaps == 0);
  CHECK(hearing.counters().last_ms == 3'980);
}

TEST_CASE("tones: what is not the call's audio is counted, and does no harm") {
  Hearing hearing = listener();
  FarEnd far{12};
  const std::vector<std::uint8_t> packet = far.next();
  hearing.receive(packet, 0);
  hearing.receive(packet, 20);  // again
  hearing.receive(std::vector<std::uint8_t>{}, 40);
  hearing.receive(std::vector<std::uint8_t>(11, 0x80), 40);
  hearing.receive(std::vector<std::uint8_t>(172, 0x90), 40);
  std::vector<std::uint8_t> event = far.next();
  event[1] = 101;
  hearing.receive(event, 60);
  hearing.receive(std::vector<std::uint8_t>{0x80, 200, 0, 1, 0, 0, 0, 9}, 60);
  const Hearing::Counters& heard = hearing.counters();
  CHECK(heard.packets == 2);
  CHECK(heard.out_of_order == 1);
  CHECK(heard.malformed == 3);
  CHECK(heard.other == 2);
  CHECK(heard.sounding_frames == 1);
}

TEST_CASE("tones: every codec that is built in carries every code, at its level and without a stranger in it") {
  std::size_t built_in = 0;
  for (const AudioCodec& codec : k_codecs) {
    if (!codec_named(codec.name)) continue;
    ++built_in;
    const Spectrum at_its_rate{codec.format.sample_rate_hz};
    for (const unsigned code : {0U, 1U, 274U, 275U, 4'097U, 0x7f3cU, 0xffffU}) {
      const auto number = static_cast<std::uint16_t>(code);
      Hearing hearing{at_its_rate, Ear{codec}};
      FarEnd far{number, codec};
      for (std::int64_t at_ms = 0; at_ms < 20'000; at_ms += 20) hearing.receive(far.next(), at_ms);
      CAPTURE(codec.name);
      CAPTURE(number);
      CHECK(hearing.counters().packets == 1'000);
      CHECK(hearing.counters().malformed == 0);
      CHECK(hearing.counters().gaps == 0);
      REQUIRE(!hearing.tallies().codes().empty());
      const CodeTally& own = hearing.tallies().codes()[0];
      CHECK(10 * std::log10(own.power_sum / own.words) == doctest::Approx(-20).epsilon(0.15));
      CHECK(hearing.tallies().codes()[0].number == number);
      CHECK(hearing.tallies().codes()[0].words >= 50);
      for (const CodeTally& other : hearing.tallies().codes().subspan(1)) CHECK(other.words < 3);
    }
  }
  CHECK(built_in >= 5);
}
