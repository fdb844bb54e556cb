#include "audio/telephone_event.hpp"

#include <string>
#include <vector>

#include <doctest/doctest.h>

using namespace sipfarm;
using audio::EventReceiver;
using audio::EventReport;
using audio::EventSender;
using audio::TelephoneEvent;
using audio::Timeline;

namespace {

/// "1+" for a beginning, "1-160" for an end.
struct Listener {
  EventReceiver receiver;
  std::string heard;

  void note(const audio::TelephoneEvents& events) {
    for (const TelephoneEvent& event : events) {
      heard += audio::digit_of(event.event);
      heard += event.kind == TelephoneEvent::Kind::began ? "+ " : "-" + std::to_string(event.duration) + " ";
    }
  }
  void receive(char digit, std::uint32_t timestamp, std::uint16_t duration, bool end, std::int64_t now_us = 0) {
    note(receiver.receive({audio::event_of(digit).value(), end, 10, duration}, timestamp, now_us));
  }
};

struct SentPacket {
  EventReport report;
  audio::Stamp stamp;
  std::int64_t now_us;
};

std::vector<SentPacket> send_all(EventSender& sender, Timeline& timeline, std::uint32_t units, std::int64_t tick_us = 20'000) {
  std::vector<SentPacket> out;
  for (std::int64_t now_us = 0; sender.busy(); now_us += tick_us) {
    if (const auto sent = sender.tick(timeline, units)) out.push_back({EventReport::parse(sent->payload).value(), sent->stamp, now_us});
    else timeline.skip(units);
  }
  return out;
}

}  // namespace

TEST_CASE("telephone-event: a report is read as it was written, and a short one is none") {
  const EventReport report{11, true, 10, 0x1234};
  const auto bytes = report.bytes();
  CHECK(bytes == std::array<std::uint8_t, 4>{11, 0x8a, 0x12, 0x34});
  const auto read = EventReport::parse(bytes).value();
  CHECK(read.event == 11);
  CHECK(read.end);
  CHECK(read.volume == 10);
  CHECK(read.duration == 0x1234);
  CHECK_FALSE(EventReport::parse({bytes.data(), 3}).has_value());
}

TEST_CASE("telephone-event: digits and events are one another's inverse") {
  for (std::uint8_t event = 0; event < audio::k_digit_events; ++event) CHECK(audio::event_of(audio::digit_of(event)) == event);
  CHECK(audio::event_of('d') == 15);
  CHECK_FALSE(audio::event_of('x').has_value());
  CHECK(audio::digit_of(16) == '\0');
}

TEST_CASE("telephone-event: three ends are one end") {
  Listener listener;
  for (std::uint16_t duration = 160; duration <= 480; duration = static_cast<std::uint16_t>(duration + 160)) listener.receive('5', 1'000, duration, false);
  for (int i = 0; i < 3; ++i) listener.receive('5', 1'000, 640, true);
  CHECK(listener.heard == "5+ 5-640 ");
  CHECK_FALSE(listener.receiver.deadline_us().has_value());
}

TEST_CASE("telephone-event: lost ends are made up for by the next event, or by quiet") {
  Listener listener;
  listener.receive('1', 1'000, 160, false, 0);
  listener.receive('1', 1'000, 320, false, 20'000);
  listener.receive('2', 3'000, 160, false, 100'000);
  CHECK(listener.heard == "1+ 1-320 2+ ");
  CHECK(listener.receiver.deadline_us() == 250'000);
  listener.note(listener.receiver.expire(249'999));
  CHECK(listener.heard == "1+ 1-320 2+ ");
  listener.note(listener.receiver.expire(250'000));
  CHECK(listener.heard == "1+ 1-320 2+ 2-160 ");
}

TEST_CASE("telephone-event: of an event whose beginning was lost both are told, in order") {
  Listener listener;
  listener.receive('1', 1'000, 160, false);
  listener.receive('1', 4'000, 800, true);
  CHECK(listener.heard == "1+ 1-160 1+ 1-800 ");
}

TEST_CASE("telephone-event: packets that come late or in another order tell nothing twice") {
  Listener listener;
  listener.receive('1', 1'000, 320, false);
  listener.receive('1', 1'000, 160, false);
  listener.receive('1', 1'000, 480, true);
  listener.receive('1', 1'000, 400, false);
  listener.receive('2', 2'000, 160, false);
  listener.receive('1', 1'000, 480, true);
  listener.receive('2', 2'000, 320, true);
  CHECK(listener.heard == "1+ 1-480 2+ 2-320 ");
}

TEST_CASE("telephone-event: a source that begins its timestamps anew is heard after two seconds") {
  Listener listener;
  listener.receive('1', 1'000'000, 160, true, 0);
  listener.receive('2', 500, 160, true, 1'000'000);
  listener.receive('2', 500, 160, true, 2'000'000);
  CHECK(listener.heard == "1+ 1-160 2+ 2-160 ");
}

TEST_CASE("telephone-event: sent with the marker first, an update every tick, three ends, and a gap") {
  EventSender sender{8'000};
  Timeline timeline{7, 100, 5'000, 8'000};
  CHECK(sender.put(1, 100, 60, 12));
  CHECK(sender.put(2, 50, 60));
  const auto sent = send_all(sender, timeline, 160);
  const std::vector<std::uint16_t> durations = {160, 320, 480, 640, 800, 800, 800, 160, 320, 400, 400, 400};
  REQUIRE(sent.size() == durations.size());
  for (std::size_t i = 0; i < sent.size(); ++i) {
    CAPTURE(i);
    const bool first = i < 7;
    CHECK(sent[i].report.duration == durations[i]);
    CHECK(sent[i].report.event == (first ? 1 : 2));
    CHECK(sent[i].report.volume == (first ? 12 : 10));
    CHECK(sent[i].report.end == ((i >= 4 && first) || i >= 9));
    CHECK(sent[i].stamp.marker == (i == 0 || i == 7));
    CHECK(sent[i].stamp.sequence == 100 + i);
    CHECK(sent[i].stamp.timestamp == (first ? 5'000U : 5'000U + 160 * 10));
  }
}

TEST_CASE("telephone-event: what is sent is received, at every clock, whichever packets but one of each event are lost") {
  for (const std::uint32_t rate_hz : {8'000U, 16'000U, 48'000U}) {
    for (std::uint32_t lost = 0; lost < 256; ++lost) {
      EventSender sender{rate_hz};
      Timeline timeline{7, 0, 0xffff'ff00U, rate_hz};
      for (const char digit : std::string{"12*"}) CHECK(sender.put(*audio::event_of(digit), 100, 60));
      Listener listener;
      const auto sent = send_all(sender, timeline, rate_hz / 50);
      REQUIRE(sent.size() == 21);
      for (std::size_t i = 0; i < sent.size(); ++i) {
        if ((lost >> (i % 7) & 1U) != 0 && i % 7 != lost % 7) continue;
        listener.note(listener.receiver.expire(sent[i].now_us));
        listener.note(listener.receiver.receive(sent[i].report, sent[i].stamp.timestamp, sent[i].now_us));
      }
      listener.note(listener.receiver.expire(10'000'000));
      std::string began;
      for (std::size_t i = 1; i < listener.heard.size(); ++i) {
        if (listener.heard[i] == '+') began += listener.heard[i - 1];
      }
      CHECK(began == "12*");
      if (lost == 0) {
        const std::string duration = std::to_string(rate_hz / 10);
        CHECK(listener.heard == "1+ 1-" + duration + " 2+ 2-" + duration + " *+ *-" + duration + " ");
      }
    }
  }
}

TEST_CASE("telephone-event: an event longer than a report can tell is sent in segments and received as one") {
  EventSender sender{48'000};
  Timeline timeline{7, 0, 1'000, 48'000};
  CHECK(sender.put(9, 5'000, 0));
  const auto sent = send_all(sender, timeline, 960);
  Listener listener;
  int markers = 0;
  std::uint32_t last = 1'000;
  for (const SentPacket& packet : sent) {
    listener.note(listener.receiver.receive(packet.report, packet.stamp.timestamp, packet.now_us));
    markers += packet.stamp.marker ? 1 : 0;
    CHECK((packet.stamp.timestamp - 1'000) % 0xffff == 0);
    CHECK(packet.stamp.timestamp >= last);
    last = packet.stamp.timestamp;
  }
  CHECK(listener.heard == "9+ 9-240000 ");
  CHECK(markers == 1);
  CHECK(last == 1'000 + 3 * 0xffff);
}

TEST_CASE("telephone-event: stopped, the running event ends and the others are not sent") {
  EventSender sender{8'000};
  Timeline timeline{7, 0, 0, 8'000};
  CHECK(sender.put(1, 60'000, 60));
  CHECK(sender.put(2, 100, 60));
  CHECK(sender.tick(timeline, 160).has_value());
  sender.stop();
  const auto sent = send_all(sender, timeline, 160);
  REQUIRE(sent.size() == 3);
  for (const auto& packet : sent) CHECK(packet.report.end);
  for (std::size_t i = 0; i < EventSender::k_queue_max; ++i) CHECK(sender.put(1, 100, 60));
  CHECK_FALSE(sender.put(1, 100, 60));
}
