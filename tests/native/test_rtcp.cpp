#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "rtp/rtcp_relay.hpp"
#include "vectors.hpp"

using namespace sipfarm::rtp;
using sipfarm::tests::read_vectors;

namespace {

using Bytes = std::vector<std::uint8_t>;

Bytes bytes_of(const std::string& name) {
  const std::string text = sipfarm::tests::read_bytes(sipfarm::tests::vectors_folder("rtcp") / (name + ".dat"));
  return {text.begin(), text.end()};
}

/// A compound in words.
std::vector<std::pair<std::string, std::string>> described(std::span<const std::uint8_t> compound) {
  std::string packets, cname, reason, app;
  std::size_t reports = 0, items = 0, blocks = 0, metrics = 0;
  std::uint32_t ssrc = 0;
  RtcpReader reader{compound};
  while (const auto packet = reader.next()) {
    packets += (packets.empty() ? "" : ",") + std::to_string(packet->type_number());
    if (packet->ssrc() && ssrc == 0) ssrc = *packet->ssrc();
    reports += packet->report_count();
    if (!packet->bye_reason().empty()) reason = packet->bye_reason();
    if (!packet->app_name().empty()) app = packet->app_name();
    SdesReader sdes = packet->sdes();
    while (const auto item = sdes.next()) {
      ++items;
      if (item->type == 1 && cname.empty()) cname = item->text;
    }
    XrReader xr = packet->xr();
    while (const auto block = xr.next()) {
      ++blocks;
      metrics += block->voip_metrics().has_value();
    }
  }
  return {{"packets", packets}, {"ssrc", std::to_string(ssrc)}, {"reports", std::to_string(reports)}, {"cname", cname}, {"reason", reason},
          {"app", app}, {"items", std::to_string(items)}, {"blocks", std::to_string(blocks)}, {"metrics", std::to_string(metrics)}};
}

Bytes written(const RtcpWriter& writer) { return {writer.written().begin(), writer.written().end()}; }

}  // namespace

TEST_CASE("rtcp: each vector is what its table says") {
  const auto vectors = read_vectors("rtcp");
  CHECK(vectors.size() == 28);
  for (const auto& vector : vectors) {
    CAPTURE(vector.name);
    const Bytes bytes{vector.bytes.begin(), vector.bytes.end()};
    CHECK(is_rtcp(bytes) == (vector.outcome == "valid"));
    const auto found = described(bytes);
    for (const auto& field : vector.fields) {
      const auto same = std::find_if(found.begin(), found.end(), [&](const auto& each) { return each.first == field.first; });
      REQUIRE(same != found.end());
      CHECK_MESSAGE(same->second == field.second, field.first);
    }
  }
}

TEST_CASE("rtcp: a compound cut short anywhere but between packets is none") {
  for (const auto& vector : read_vectors("rtcp")) {
    if (vector.outcome != "valid") continue;
    const Bytes bytes{vector.bytes.begin(), vector.bytes.end()};
    std::vector<std::size_t> edges;
    RtcpReader reader{bytes};
    for (std::size_t at = 0; const auto packet = reader.next();) edges.push_back(at += packet->bytes().size());
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      CAPTURE(vector.name);
      CHECK(is_rtcp(std::span{bytes}.first(size)) == (std::find(edges.begin(), edges.end(), size) != edges.end()));
    }
  }
}

TEST_CASE("rtcp: fields of a report and its reception block, the loss with its sign") {
  const Bytes bytes = bytes_of("sr_sdes");
  RtcpReader reader{bytes};
  const RtcpPacket packet = reader.next().value();
  CHECK(packet.sender_info().value() == SenderInfo{0xd9e2a4b1'80000000U, 160'000, 1'000, 160'000});
  CHECK(packet.report(0) == ReportBlock{0x22222222, 12, -3, 0x1fff0, 77, 0xa4b10000, 0x18000});
}

TEST_CASE("rtcp: blocks of an extended report") {
  const Bytes bytes = bytes_of("xr");
  RtcpReader reader{bytes};
  reader.next();
  XrReader blocks = reader.next().value().xr();
  const VoipMetrics metrics = blocks.next().value().voip_metrics().value();
  CHECK(metrics.ssrc == 0x22222222);
  CHECK(metrics.burst_duration_ms == 120);
  CHECK(metrics.signal_level_dbm == -20);
  CHECK(metrics.r_factor == 88);
  CHECK(metrics.mos_cq == 41);
  CHECK(metrics.jitter_buffer_absolute_maximum_ms == 120);
  CHECK(blocks.next().value().reference_time() == 0xd9e2a4b1'40000000U);
  const XrBlock dlrr = blocks.next().value();
  REQUIRE(dlrr.dlrr_count() == 1);
  CHECK(dlrr.dlrr(0) == Dlrr{0x22222222, 0xa4b18000, 0x10000});
  CHECK_FALSE(blocks.next());
}

TEST_CASE("rtcp: what is written is what the vectors hold, and reads as it was written") {
  std::array<std::uint8_t, 512> out{};
  const ReportBlock block{0x22222222, 12, -3, 0x1fff0, 77, 0xa4b10000, 0x18000};
  {
    RtcpWriter writer{out};
    writer.report(0x11111111, SenderInfo{0xd9e2a4b1'80000000U, 160'000, 1'000, 160'000}, std::span{&block, 1});
    writer.sdes_cname(0x11111111, "a@example.test");
    CHECK(written(writer) == bytes_of("sr_sdes"));
  }
  {
    RtcpWriter writer{out};
    writer.report(0x11111111, std::nullopt, {});
    writer.sdes_cname(0x11111111, "a@example.test");
    writer.bye(0x11111111, "bye");
    CHECK(written(writer) == bytes_of("rr_empty_sdes_bye"));
  }
  for (std::size_t length = 0; length <= 255; ++length) {  // each alignment of text
    RtcpWriter writer{out};
    const std::string name(length, 'x');
    writer.sdes_cname(7, name);
    REQUIRE(is_rtcp(writer.written()));
    RtcpReader reader{writer.written()};
    SdesReader items = reader.next().value().sdes();
    CHECK(items.next().value().text == name);
    CHECK_FALSE(items.next());
  }
  VoipMetrics metrics;
  metrics.ssrc = 9;
  metrics.loss_rate = 3;
  metrics.gap_duration_ms = 999;
  metrics.noise_level_dbm = -70;
  metrics.mos_lq = 44;
  RtcpWriter writer{out};
  writer.xr_voip_metrics(8, metrics);
  writer.xr_reference_time(8, 0x1234567890abcdefU);
  writer.xr_dlrr(8, {9, 1, 2});
  RtcpReader reader{writer.written()};
  CHECK(reader.next().value().xr().next().value().voip_metrics().value() == metrics);
  CHECK(reader.next().value().xr().next().value().reference_time() == 0x1234567890abcdefU);
  CHECK(reader.next().value().xr().next().value().dlrr(0) == Dlrr{9, 1, 2});
}

TEST_CASE("rtcp: what does not fit is left out whole, and told") {
  for (std::size_t room = 0; room < 60; ++room) {
    Bytes out(room);
    RtcpWriter writer{out};
    writer.report(1, std::nullopt, {});
    writer.sdes_cname(1, "somebody");
    writer.bye(1, "over");
    CHECK((writer.size() == 0 || is_rtcp(writer.written())));
    CHECK(writer.full() == (room < 8 + 20 + 16));
  }
}

TEST_CASE("rtcp: reports about what ends here go no further, the rest does behind an empty report (RFC 3550 §7.2)") {
  Bytes out(600);
  const auto translated = [&](const Bytes& in) {
    const std::size_t size = translate_rtcp(in, 0x22222222, 0x99, out);
    return described(std::span{out}.first(size))[0].second;
  };
  CHECK(translated(bytes_of("sr_sdes")) == "201,202");
  CHECK(translated(bytes_of("rr_empty_sdes_bye")) == "201,202,203");
  CHECK(translated(bytes_of("rr_31_reports")).empty());
  CHECK(translated(bytes_of("xr")).empty());
  CHECK(translated(bytes_of("app")) == "201,204");
  CHECK(translated(bytes_of("nack")).empty());  // it asks us for a packet, and we have it not
  CHECK(translated(bytes_of("unknown_type")) == "201,210");
  CHECK(translated(bytes_of("second_cut_short")).empty());
  Bytes other = bytes_of("nack");
  other[other.size() - 5] = 0x23;  // about another source
  CHECK(translated(other) == "201,205");
}
