#include "rtp/bridge.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <numbers>
#include <vector>

#include "codec/codec.hpp"
#include "rtp/header.hpp"

using namespace sipfarm;
using rtp::Side;

namespace {

constexpr codec::Format k_pcmu{codec::Id::pcmu};
constexpr codec::Format k_pcma{codec::Id::pcma};
constexpr codec::Format k_g722{codec::Id::g722, 8'000, 16'000};

struct Sent {
  rtp::Header header;
  std::vector<std::uint8_t> payload;
};

class Sink final : public rtp::PacketSink {
 public:
  std::span<std::uint8_t> room() noexcept override { return room_; }
  void send(std::size_t bytes) noexcept override {
    const auto header = rtp::Header::read(std::span{room_}.first(bytes));
    REQUIRE(header);
    Sent each{*header, {header->payload.begin(), header->payload.end()}};
    each.header.payload = {};
    sent.push_back(std::move(each));
  }
  std::vector<Sent> sent;

 private:
  std::array<std::uint8_t, 1'512> room_{};
};

rtp::BridgeSide side(std::uint8_t payload_type, const codec::Format& format, unsigned ptime_ms = 20) {
  rtp::BridgeSide made;
  made.receive = {{payload_type, format}};
  made.send = {payload_type, format};
  made.ptime_ms = ptime_ms;
  return made;
}

std::unique_ptr<rtp::Bridge> bridge(const rtp::BridgeSide& a, const rtp::BridgeSide& b) {
  const char* objection = nullptr;
  auto made = rtp::Bridge::make({{a, b}}, {{{0xaaaa, 100, 5'000}, {0xbbbb, 200, 9'000}}}, objection);
  REQUIRE_MESSAGE(made, std::string{objection == nullptr ? "" : objection});
  return made;
}

/// A phone that talks: a tone of 400 Hz, a frame of 20 ms a packet.
class Phone {
 public:
  Phone(std::uint8_t payload_type, const codec::Format& format) : type_{payload_type}, format_{format}, encoder_{codec::make_encoder(format)} {}

  std::vector<std::uint8_t> packet() {
    std::vector<std::int16_t> pcm(format_.sample_rate_hz / 50);
    for (auto& sample : pcm) {
      sample = static_cast<std::int16_t>(10'000 * std::sin(2 * std::numbers::pi * 400 * static_cast<double>(heard_++) / format_.sample_rate_hz));
    }
    std::vector<std::uint8_t> bytes(1'500);
    const std::size_t payload = encoder_->encode(pcm, std::span{bytes}.subspan(12));
    rtp::write_header(bytes, {ssrc, sequence++, timestamp, false}, type_);
    timestamp += format_.clock_rate_hz / 50;
    bytes.resize(12 + payload);
    return bytes;
  }

  std::uint32_t ssrc = 0x1234;
  std::uint16_t sequence = 65'530;  // wraps soon
  std::uint32_t timestamp = 0xffff'ff00;

 private:
  std::uint8_t type_;
  codec::Format format_;
  std::unique_ptr<codec::Encoder> encoder_;
  std::size_t heard_ = 0;
};

std::vector<std::int16_t> heard(const std::vector<Sent>& packets, const codec::Format& format) {
  const auto decoder = codec::make_decoder(format);
  std::vector<std::int16_t> all;
  for (const Sent& packet : packets) {
    std::array<std::int16_t, 5'760> pcm{};
    const std::size_t count = decoder->decode(packet.payload, pcm);
    all.insert(all.end(), pcm.begin(), pcm.begin() + static_cast<std::ptrdiff_t>(count));
  }
  return all;
}

/// Share of the power at `hz` (Goertzel), over the second half.
double purity(const std::vector<std::int16_t>& pcm, double hz, double rate_hz) {
  double re = 0;
  double im = 0;
  double power = 0;
  const std::size_t begin = pcm.size() / 2;
  for (std::size_t i = begin; i < pcm.size(); ++i) {
    const double phase = 2 * std::numbers::pi * hz * static_cast<double>(i) / rate_hz;
    re += pcm[i] * std::cos(phase);
    im += pcm[i] * std::sin(phase);
    power += static_cast<double>(pcm[i]) * pcm[i];
  }
  return power == 0 ? 0 : (re * re + im * im) * 2 / (static_cast<double>(pcm.size() - begin) * power);
}

}  // namespace

TEST_CASE("bridge: a tone goes from codec to codec, with numbers of our own and no hole") {
  const auto [near, near_type, far, far_type, rate_hz] = [] {
    struct Pair {
      codec::Format near;
      std::uint8_t near_type;
      codec::Format far;
      std::uint8_t far_type;
      double rate_hz;
    };
    std::vector<Pair> pairs{{k_pcmu, 0, k_pcma, 8, 8'000}, {k_g722, 9, k_pcmu, 0, 8'000}, {k_pcmu, 0, k_g722, 9, 16'000}};
    static std::size_t turn = 0;
    SUBCASE("PCMU to PCMA") { turn = 0; }
    SUBCASE("G.722 to PCMU") { turn = 1; }
    SUBCASE("PCMU to G.722") { turn = 2; }
    return pairs[turn];
  }();
  const auto made = bridge(side(near_type, near), side(far_type, far));
  Phone phone{near_type, near};
  Sink sink;
  for (int i = 0; i < 50; ++i) made->receive(Side::a, phone.packet(), i * 20'000, sink);
  REQUIRE(sink.sent.size() >= 49);
  for (std::size_t i = 0; i < sink.sent.size(); ++i) {
    const rtp::Header& header = sink.sent[i].header;
    CHECK(header.payload_type == far_type);
    CHECK(header.ssrc == 0xbbbb);
    CHECK(header.sequence == 200 + i);
    CHECK(header.timestamp == 9'000 + i * 160);
    CHECK(header.marker == (i == 0));
  }
  CHECK(purity(heard(sink.sent, far), 400, rate_hz) > 0.99);
  CHECK(made->counters(Side::a).converted.get() == 50);
}

TEST_CASE("bridge: each side has the packet time it asked for") {
  const auto made = bridge(side(0, k_pcmu), side(8, k_pcma, 60));
  Phone phone{0, k_pcmu};
  Sink sink;
  for (int i = 0; i < 30; ++i) made->receive(Side::a, phone.packet(), i * 20'000, sink);
  REQUIRE(sink.sent.size() == 10);
  for (std::size_t i = 0; i < 10; ++i) {
    CHECK(sink.sent[i].payload.size() == 480);
    CHECK(sink.sent[i].header.timestamp == 9'000 + i * 480);
  }
}

TEST_CASE("bridge: a packet that is lost is made up, one that comes late is put in its place") {
  const auto made = bridge(side(0, k_pcmu), side(8, k_pcma));
  Phone phone{0, k_pcmu};
  std::vector<std::vector<std::uint8_t>> packets;
  for (int i = 0; i < 40; ++i) packets.push_back(phone.packet());
  std::swap(packets[10], packets[11]);
  packets[20].clear();
  Sink sink;
  for (int i = 0; i < 40; ++i) {
    if (!packets[static_cast<std::size_t>(i)].empty()) made->receive(Side::a, packets[static_cast<std::size_t>(i)], i * 20'000, sink);
  }
  REQUIRE(sink.sent.size() == 40);
  for (std::size_t i = 0; i < 40; ++i) {
    CHECK(sink.sent[i].header.sequence == 200 + i);
    CHECK(sink.sent[i].header.timestamp == 9'000 + i * 160);
  }
  CHECK(made->counters(Side::a).concealed.get() == 1);
  CHECK(purity(heard(sink.sent, k_pcma), 400, 8'000) > 0.9);
}

TEST_CASE("bridge: a payload that the far side takes goes on as it is, and what is lost of it is missed there") {
  auto near = side(0, k_pcmu);
  near.receive.push_back({8, k_pcma});
  const auto made = bridge(near, side(96, k_pcma));
  Phone phone{8, k_pcma};
  Sink sink;
  std::vector<std::uint8_t> last;
  for (int i = 0; i < 6; ++i) {
    last = phone.packet();
    if (i != 2) made->receive(Side::a, last, i * 20'000, sink);
  }
  REQUIRE(sink.sent.size() == 5);
  CHECK(std::equal(last.begin() + 12, last.end(), sink.sent.back().payload.begin(), sink.sent.back().payload.end()));
  CHECK(sink.sent[4].header.payload_type == 96);
  CHECK(sink.sent[4].header.sequence == 205);
  CHECK(sink.sent[4].header.timestamp == 9'000 + 5 * 160);
  CHECK(made->counters(Side::a).passed.get() == 5);
}

TEST_CASE("bridge: another source and another codec in mid-stream leave no trace in the numbers") {
  auto near = side(0, k_pcmu);
  near.receive.push_back({9, k_g722});
  const auto made = bridge(near, side(8, k_pcma));
  Phone first{0, k_pcmu};
  Phone second{9, k_g722};
  second.ssrc = 0x9999;
  second.sequence = 7;
  second.timestamp = 77;
  Sink sink;
  for (int i = 0; i < 10; ++i) made->receive(Side::a, first.packet(), i * 20'000, sink);
  for (int i = 10; i < 20; ++i) made->receive(Side::a, second.packet(), i * 20'000, sink);
  REQUIRE(sink.sent.size() >= 18);  // the first of a new source is not believed, and a resampler begins with a frame that is not full
  for (std::size_t i = 0; i < sink.sent.size(); ++i) {
    CHECK(sink.sent[i].header.ssrc == 0xbbbb);
    CHECK(sink.sent[i].header.sequence == 200 + i);
    if (i > 0) CHECK(sink.sent[i].header.timestamp - sink.sent[i - 1].header.timestamp < 3 * 160);
  }
  CHECK(sink.sent.back().header.timestamp >= 9'000 + 18 * 160);
}

TEST_CASE("bridge: a pause stays a pause, and speech after it is marked") {
  const auto made = bridge(side(0, k_pcmu), side(8, k_pcma));
  Phone phone{0, k_pcmu};
  Sink sink;
  for (int i = 0; i < 5; ++i) made->receive(Side::a, phone.packet(), i * 20'000, sink);
  phone.timestamp += 8'000;
  made->receive(Side::a, phone.packet(), 1'100'000, sink);
  REQUIRE(sink.sent.size() == 6);
  CHECK(sink.sent[5].header.sequence == 205);
  CHECK(sink.sent[5].header.timestamp == 9'000 + 5 * 160 + 8'000);
  CHECK(sink.sent[5].header.marker);
}

TEST_CASE("bridge: an event keeps one timestamp, has the far side's number and clock, and audio goes on after it") {
  auto near = side(0, k_pcmu);
  near.receive_events = {{101, 8'000}};
  auto far = side(96, {codec::Id::l16, 16'000, 16'000});
  far.send_events = rtp::BesideFormat{110, 16'000};
  const auto made = bridge(near, far);
  Phone phone{0, k_pcmu};
  Sink sink;
  for (int i = 0; i < 5; ++i) made->receive(Side::a, phone.packet(), i * 20'000, sink);
  const std::size_t before = sink.sent.size();
  const std::uint32_t began = phone.timestamp;
  for (unsigned i = 1; i <= 5; ++i) {
    std::vector<std::uint8_t> event(16);
    rtp::write_header(event, {phone.ssrc, phone.sequence++, began, i == 1}, 101);
    const unsigned duration = std::min(i, 3U) * 160;
    event[12] = 5;
    event[13] = static_cast<std::uint8_t>(i >= 3 ? 0x8a : 0x0a);
    event[14] = static_cast<std::uint8_t>(duration >> 8U);
    event[15] = static_cast<std::uint8_t>(duration);
    made->receive(Side::a, event, (5 + i) * 20'000, sink);
  }
  REQUIRE(sink.sent.size() == before + 5);
  const std::uint32_t goes_with = sink.sent[before].header.timestamp;
  for (std::size_t i = 0; i < 5; ++i) {
    const Sent& event = sink.sent[before + i];
    CHECK(event.header.payload_type == 110);
    CHECK(event.header.timestamp == goes_with);
    CHECK(event.header.marker == (i == 0));
    CHECK(event.payload[0] == 5);
    CHECK((event.payload[2] << 8 | event.payload[3]) == static_cast<int>(std::min<std::size_t>(i + 1, 3) * 320));
  }
  phone.timestamp = began + 3 * 160;
  made->receive(Side::a, phone.packet(), 220'000, sink);
  made->receive(Side::a, phone.packet(), 240'000, sink);
  CHECK(sink.sent.back().header.payload_type == 96);
  CHECK(sink.sent.back().header.timestamp - goes_with >= 3 * 320);
  CHECK(sink.sent.back().header.sequence == 200 + sink.sent.size() - 1);
}

TEST_CASE("bridge: what is not agreed on, cut short or sent to who does not listen goes nowhere") {
  auto deaf = side(8, k_pcma);
  deaf.listens = false;
  Phone phone{0, k_pcmu};
  Sink sink;
  bridge(side(0, k_pcmu), deaf)->receive(Side::a, phone.packet(), 0, sink);
  const auto made = bridge(side(0, k_pcmu), side(8, k_pcma));
  auto packet = phone.packet();
  packet[1] = 55;
  made->receive(Side::a, packet, 0, sink);
  packet[0] = 0x9f;  // fifteen CSRCs and an extension that are not all there
  packet.resize(40);
  made->receive(Side::a, packet, 0, sink);
  CHECK(sink.sent.empty());
  CHECK(made->counters(Side::a).unknown.get() == 1);
}

TEST_CASE("bridge: a codec that cannot be done is said, not guessed") {
  const char* objection = nullptr;
  const codec::Format odd{codec::Id::g722, 8'000, 44'100};
  CHECK_FALSE(rtp::Bridge::make({{side(0, k_pcmu), side(9, odd)}}, {}, objection));
  CHECK(objection != nullptr);
}
