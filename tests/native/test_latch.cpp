#include <doctest/doctest.h>

#include <initializer_list>
#include <string>
#include <string_view>

#include "rtp/latch.hpp"

using sipfarm::net::Address;
using sipfarm::rtp::SourceLatch;
using Verdict = SourceLatch::Verdict;

namespace {

/// "" is the empty address, "1.2.3.4:5" an address.
Address at(std::string_view text) {
  if (text.empty()) return {};
  const auto colon = text.rfind(':');
  const auto port = static_cast<std::uint16_t>(std::stoi(std::string{text.substr(colon + 1)}));
  return Address::parse(text.substr(0, colon), port).value();
}

struct Step {
  std::int64_t at_ms;
  const char* source;  // "open": a new SDP that signals `remote`
  Verdict verdict;
  const char* remote;
};

struct Story {
  const char* name;
  const char* signalled;
  const char* signalling;
  std::initializer_list<Step> steps;
};

constexpr auto refused = Verdict::refused;
constexpr auto accepted = Verdict::accepted;
constexpr auto moved = Verdict::moved;
constexpr auto locked = Verdict::locked;

const Story k_stories[] = {
    {"the signalled address locks at once", "192.0.2.1:4000", "",
     {{0, "192.0.2.1:4000", locked, "192.0.2.1:4000"},
      {20, "198.51.100.9:9", refused, "192.0.2.1:4000"},
      {30, "192.0.2.1:4002", refused, "192.0.2.1:4000"},
      {40, "192.0.2.1:4000", accepted, "192.0.2.1:4000"}}},
    {"a phone behind a NAT is learned, and locked when the window is over", "10.0.0.5:4000", "",
     {{1'000, "203.0.113.7:61000", moved, "203.0.113.7:61000"},
      {1'020, "203.0.113.7:61000", accepted, "203.0.113.7:61000"},
      {1'040, "198.51.100.9:9", refused, "203.0.113.7:61000"},
      {3'999, "203.0.113.7:61000", accepted, "203.0.113.7:61000"},
      {4'000, "203.0.113.7:61000", locked, "203.0.113.7:61000"},
      {4'010, "10.0.0.5:4000", refused, "203.0.113.7:61000"},
      {9'000, "198.51.100.9:9", refused, "203.0.113.7:61000"}}},
    {"a hijacker who came first gives way to the signalled address", "192.0.2.1:4000", "",
     {{0, "198.51.100.9:9", moved, "198.51.100.9:9"},
      {10, "192.0.2.1:4000", locked, "192.0.2.1:4000"},
      {20, "198.51.100.9:9", refused, "192.0.2.1:4000"}}},
    {"the signalled host with another port beats a stranger, and the signalled port beats both", "192.0.2.1:4000", "",
     {{0, "198.51.100.9:9", moved, "198.51.100.9:9"},
      {10, "192.0.2.1:4444", moved, "192.0.2.1:4444"},
      {20, "198.51.100.9:9", refused, "192.0.2.1:4444"},
      {30, "192.0.2.1:5555", refused, "192.0.2.1:4444"},
      {40, "192.0.2.1:4000", locked, "192.0.2.1:4000"}}},
    {"the host that the signalling came from beats a stranger", "10.0.0.5:4000", "203.0.113.7:5060",
     {{0, "198.51.100.9:9", moved, "198.51.100.9:9"},
      {10, "203.0.113.7:61000", moved, "203.0.113.7:61000"},
      {20, "198.51.100.9:9", refused, "203.0.113.7:61000"}}},
    {"one packet of a stranger does not hold the port when the phone comes later", "10.0.0.5:4000", "",
     {{0, "198.51.100.9:9", moved, "198.51.100.9:9"},
      {499, "203.0.113.7:61000", refused, "198.51.100.9:9"},
      {500, "203.0.113.7:61000", moved, "203.0.113.7:61000"},
      {520, "198.51.100.9:9", refused, "203.0.113.7:61000"},
      {3'500, "203.0.113.7:61000", locked, "203.0.113.7:61000"}}},
    {"a quiet tentative source is replaced even after its window", "10.0.0.5:4000", "",
     {{0, "198.51.100.9:9", moved, "198.51.100.9:9"},
      {10'000, "203.0.113.7:61000", moved, "203.0.113.7:61000"}}},
    {"a new SDP opens the latch for the new address", "192.0.2.1:4000", "",
     {{0, "192.0.2.1:4000", locked, "192.0.2.1:4000"},
      {100, "open", refused, "192.0.2.2:6000"},
      {110, "192.0.2.1:4000", accepted, "192.0.2.2:6000"},
      {120, "192.0.2.2:6000", locked, "192.0.2.2:6000"},
      {130, "192.0.2.1:4000", refused, "192.0.2.2:6000"}}},
    {"late packets from under the old SDP are heard but do not take the latch back, a lasting stream may", "192.0.2.1:4000", "",
     {{0, "192.0.2.1:4000", locked, "192.0.2.1:4000"},
      {100, "open", refused, "192.0.2.2:6000"},
      {599, "192.0.2.1:4000", accepted, "192.0.2.2:6000"},
      {600, "192.0.2.1:4000", moved, "192.0.2.1:4000"}}},
    {"a late packet from under the old SDP does not push out the new source", "192.0.2.1:4000", "",
     {{0, "192.0.2.1:4000", locked, "192.0.2.1:4000"},
      {100, "open", refused, "10.0.0.5:6000"},
      {110, "203.0.113.7:61000", moved, "203.0.113.7:61000"},
      {120, "192.0.2.1:4000", refused, "203.0.113.7:61000"}}},
    {"the same SDP again leaves an exact lock alone", "192.0.2.1:4000", "",
     {{0, "192.0.2.1:4000", locked, "192.0.2.1:4000"},
      {100, "open", refused, "192.0.2.1:4000"},
      {9'000, "198.51.100.9:9", refused, "192.0.2.1:4000"},
      {9'010, "192.0.2.1:4000", accepted, "192.0.2.1:4000"}}},
    {"the same SDP again keeps a learned source while it speaks, and lets a moved phone in", "10.0.0.5:4000", "",
     {{0, "203.0.113.7:61000", moved, "203.0.113.7:61000"},
      {3'000, "203.0.113.7:61000", locked, "203.0.113.7:61000"},
      {9'990, "203.0.113.7:61000", accepted, "203.0.113.7:61000"},
      {10'000, "open", refused, "10.0.0.5:4000"},
      {10'010, "198.51.100.9:9", refused, "203.0.113.7:61000"},
      {10'500, "203.0.113.7:62222", moved, "203.0.113.7:62222"}}},
    {"before any SDP a source is heard but not sent to", "", "",
     {{0, "203.0.113.7:61000", moved, ""},
      {9'000, "203.0.113.7:61000", accepted, ""},
      {9'010, "198.51.100.9:9", refused, ""},
      {9'020, "open", refused, "10.0.0.5:4000"},
      {9'030, "203.0.113.7:61000", accepted, "203.0.113.7:61000"},
      {12'020, "203.0.113.7:61000", locked, "203.0.113.7:61000"}}},
    {"IPv6 is latched alike", "[2001:db8::1]:4000", "",
     {{0, "[2001:db8::9]:9", moved, "[2001:db8::9]:9"},
      {1, "[2001:db8::1]:4002", moved, "[2001:db8::1]:4002"},
      {2, "[2001:db8::1]:4000", locked, "[2001:db8::1]:4000"}}},
};

}  // namespace

TEST_CASE("latch stories") {
  for (const Story& story : k_stories) {
    CAPTURE(story.name);
    SourceLatch latch{{3'000, 500}};
    latch.open(at(story.signalled), at(story.signalling), 0);
    CHECK(latch.remote() == at(story.signalled));
    for (const Step& step : story.steps) {
      CAPTURE(step.at_ms);
      CAPTURE(step.source);
      if (std::string_view{step.source} == "open") {
        latch.open(at(step.remote), at(story.signalling), step.at_ms);
        continue;
      }
      CHECK(latch.receive(at(step.source), step.at_ms) == step.verdict);
      CHECK(latch.remote() == at(step.remote));
      if (step.verdict == locked) CHECK(latch.locked());
    }
  }
}

TEST_CASE("a lock, once made, is left only by open") {
  // Whatever two strangers send, in any order and at any time, the locked source stays.
  SourceLatch latch;
  latch.open(at("192.0.2.1:4000"), {}, 0);
  CHECK(latch.receive(at("192.0.2.1:4000"), 0) == locked);
  std::uint32_t dice = 7;
  for (std::int64_t now_ms = 1; now_ms < 10'000; now_ms += 7) {
    dice = dice * 1'664'525U + 1'013'904'223U;
    const auto source = (dice >> 20U) % 2 == 0 ? at("198.51.100.9:9") : at("192.0.2.1:4001");
    REQUIRE(latch.receive(source, now_ms) == refused);
    REQUIRE(latch.remote() == at("192.0.2.1:4000"));
  }
}
