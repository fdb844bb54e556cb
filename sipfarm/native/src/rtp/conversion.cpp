#include "rtp/conversion.hpp"

#include <algorithm>
#include <utility>

#include "rtp/header.hpp"

namespace sipfarm::rtp {
namespace {

constexpr std::size_t k_samples_max = codec::k_frame_ms_max * 48;  // of one packet, at any rate
constexpr std::uint32_t k_conceal_ms_max = 120;                    // a longer gap is silence
constexpr std::size_t k_event_bytes = 4;                           // RFC 4733 §2.3

/// Two formats whose payloads each may go on as the other.
bool is_same_coding(const codec::Format& in, const codec::Format& out) noexcept {
  if (in.id != out.id || in.clock_rate_hz != out.clock_rate_hz || in.channels != out.channels) return false;
  return (in.id != codec::Id::amr && in.id != codec::Id::amr_wb) || (in.octet_aligned == out.octet_aligned && in.mode_set == out.mode_set);
}

std::size_t frame_samples(const codec::Encoder& encoder, const codec::Format& format, unsigned ptime_ms) noexcept {
  const std::size_t wanted = std::min<std::size_t>(ptime_ms, codec::ptime_ms_max(format)) * format.sample_rate_hz / 1'000;
  return std::max<std::size_t>(wanted / encoder.quantum(), 1) * encoder.quantum();
}

}  // namespace

std::unique_ptr<Conversion> Conversion::make(const BridgeSide& from, const BridgeSide& to, const StreamStart& start,
                                             const char*& objection) {
  objection = codec::objection(to.send.format);
  auto encoder = objection == nullptr ? codec::make_encoder(to.send.format) : nullptr;
  if (!encoder) {
    if (objection == nullptr) objection = "the library refuses";
    return nullptr;
  }
  auto made = std::make_unique<Conversion>(from, to, start, std::move(encoder));
  for (const PayloadFormat& each : from.receive) {
    Source source;
    source.of = each;
    source.passes = is_same_coding(each.format, to.send.format);
    objection = codec::objection(each.format);
    source.decoder = objection == nullptr ? codec::make_decoder(each.format) : nullptr;
    if (!source.decoder) {
      if (objection == nullptr) objection = "the library refuses";
      return nullptr;
    }
    if (each.format.sample_rate_hz != to.send.format.sample_rate_hz) {
      source.resampler = std::make_unique<audio::Resampler>(each.format.sample_rate_hz, to.send.format.sample_rate_hz);
    }
    made->sources_.push_back(std::move(source));
  }
  return made;
}

Conversion::Conversion(const BridgeSide& from, const BridgeSide& to, const StreamStart& start, std::unique_ptr<codec::Encoder> encoder)
    : to_{to.send},
      to_events_{to.send_events},
      to_noise_{to.send_noise},
      listens_{to.listens},
      events_{from.receive_events},
      noise_{from.receive_noise},
      encoder_{std::move(encoder)},
      reorder_{audio::ReorderConfig{}},
      timeline_{start.ssrc, start.sequence, start.timestamp, to.send.format.clock_rate_hz},
      repacketizer_{2 * k_samples_max, frame_samples(*encoder_, to.send.format, to.ptime_ms)},
      decoded_(k_samples_max),
      resampled_(k_samples_max + 64) {}

Conversion::Source* Conversion::source_of(std::uint8_t payload_type) noexcept {
  for (Source& source : sources_) {
    if (source.of.payload_type == payload_type) return &source;
  }
  return nullptr;
}

const BesideFormat* Conversion::find(const std::vector<BesideFormat>& formats, std::uint8_t payload_type) noexcept {
  const auto found = std::find_if(formats.begin(), formats.end(), [&](const auto& each) { return each.payload_type == payload_type; });
  return found == formats.end() ? nullptr : &*found;
}

std::uint32_t Conversion::units_of(std::size_t samples) const noexcept {
  return static_cast<std::uint32_t>(samples * to_.format.clock_rate_hz / to_.format.sample_rate_hz);
}

// ---- what comes

void Conversion::receive(std::span<const std::uint8_t> bytes, std::int64_t now_us, PacketSink& sink) noexcept {
  const auto header = Header::read(bytes);
  if (!header || !listens_) return;
  audio::Packet packet{header->ssrc, header->sequence, header->timestamp, 0, header->payload_type, header->marker, header->payload};
  if (const Source* source = source_of(packet.payload_type)) {
    const std::size_t samples = source->decoder->duration(packet.payload);
    if (samples == 0 || samples > k_samples_max) return counters_.undecodable.add(1);
    packet.duration = static_cast<std::uint32_t>(samples * source->of.format.clock_rate_hz / source->of.format.sample_rate_hz);
  } else if (find(events_, packet.payload_type) == nullptr && find(noise_, packet.payload_type) == nullptr) {
    return counters_.unknown.add(1);
  }
  switch (reorder_.push(packet, now_us)) {
    case audio::Reorder::Verdict::deliver: take(packet, 0, now_us, sink); break;
    case audio::Reorder::Verdict::held: break;
    case audio::Reorder::Verdict::dropped: return counters_.late.add(1);
  }
  expire(now_us, sink);
}

void Conversion::expire(std::int64_t now_us, PacketSink& sink) noexcept {
  while (const auto released = reorder_.release(now_us)) take(released->packet, released->lost, now_us, sink);
}

void Conversion::take(const audio::Packet& packet, std::uint32_t lost, std::int64_t now_us, PacketSink& sink) noexcept {
  if (Source* source = source_of(packet.payload_type)) return take_audio(*source, packet, lost, now_us, sink);
  if (const BesideFormat* event = find(events_, packet.payload_type)) return take_event(*event, packet, now_us, sink);
  if (const BesideFormat* noise = find(noise_, packet.payload_type)) take_noise(*noise, packet, now_us, sink);
}

void Conversion::take_audio(Source& source, const audio::Packet& packet, std::uint32_t lost, std::int64_t now_us,
                            PacketSink& sink) noexcept {
  const codec::Format& format = source.of.format;
  const std::uint32_t gap = timeline_.follow({packet.ssrc, packet.timestamp, packet.duration, format.clock_rate_hz}, now_us);
  bridge_gap(source, packet, gap, lost, sink);
  if (source.passes) return pass(packet, packet.duration, sink);
  const std::size_t samples = source.decoder->decode(packet.payload, decoded_);
  if (samples == 0) {
    counters_.undecodable.add(1);
    const std::size_t missing = std::size_t{packet.duration} * format.sample_rate_hz / format.clock_rate_hz;
    source.decoder->conceal(codec::Pcm{decoded_}.first(missing));
    return code(source, codec::ConstPcm{decoded_}.first(missing), sink);
  }
  if (const std::uint8_t mode = source.decoder->requested_mode(); mode != codec::k_no_mode) requested_mode_ = mode;
  counters_.converted.add(1);
  code(source, codec::ConstPcm{decoded_}.first(samples), sink);
}

/// What is missing before a packet: what was lost is made up, a pause stays one.
void Conversion::bridge_gap(Source& source, const audio::Packet& packet, std::uint32_t gap, std::uint32_t lost, PacketSink& sink) noexcept {
  if (source.passes) timeline_.leave_out(lost);
  if (gap == 0) return;
  const std::uint32_t gap_ms = gap / (to_.format.clock_rate_hz / 1'000);
  if (lost == 0 || source.passes || gap_ms > k_conceal_ms_max) return pause(gap, sink);
  const std::size_t missing = std::min(std::size_t{gap} * source.of.format.sample_rate_hz / to_.format.clock_rate_hz, decoded_.size());
  source.decoder->recover(packet.payload, codec::Pcm{decoded_}.first(missing));
  counters_.concealed.add(lost);
  code(source, codec::ConstPcm{decoded_}.first(missing), sink);
}

/// An event keeps its timestamp while it lasts; time goes on when something else is sent (RFC 4733 §2.5.1).
void Conversion::take_event(const BesideFormat& format, const audio::Packet& packet, std::int64_t now_us, PacketSink& sink) noexcept {
  if (packet.payload.size() < k_event_bytes) return counters_.undecodable.add(1);
  const bool is_new = !event_.known || event_.ssrc != packet.ssrc || event_.came_with != packet.timestamp;
  if (is_new) {
    const std::uint32_t gap = timeline_.follow({packet.ssrc, packet.timestamp, 0, format.clock_rate_hz}, now_us);
    pause(gap, sink);
    event_ = {packet.ssrc, packet.timestamp, timeline_.timestamp(), true};
  }
  if (!to_events_) return;
  const std::uint32_t duration = std::uint32_t{packet.payload[2]} << 8U | packet.payload[3];
  const std::uint64_t scaled = std::uint64_t{duration} * to_events_->clock_rate_hz / format.clock_rate_hz;
  const auto told = static_cast<std::uint32_t>(std::min<std::uint64_t>(scaled, 0xffff));
  const std::uint8_t payload[k_event_bytes] = {packet.payload[0], packet.payload[1], static_cast<std::uint8_t>(told >> 8U),
                                               static_cast<std::uint8_t>(told)};
  counters_.passed.add(1);
  send(timeline_.send_event(event_.goes_with, is_new), to_events_->payload_type, payload, sink);
}

void Conversion::take_noise(const BesideFormat& format, const audio::Packet& packet, std::int64_t now_us, PacketSink& sink) noexcept {
  const std::uint32_t gap = timeline_.follow({packet.ssrc, packet.timestamp, 0, format.clock_rate_hz}, now_us);
  pause(gap, sink);
  if (!to_noise_ || packet.payload.empty()) return;
  counters_.passed.add(1);
  send(timeline_.send(0), to_noise_->payload_type, packet.payload, sink);
}

// ---- what goes

void Conversion::pass(const audio::Packet& packet, std::uint32_t duration, PacketSink& sink) noexcept {
  flush(sink);
  counters_.passed.add(1);
  send(timeline_.send(duration), to_.payload_type, packet.payload, sink);
}

void Conversion::pause(std::uint32_t duration, PacketSink& sink) noexcept {
  if (duration == 0) return;
  const std::uint32_t filled = units_of(repacketizer_.flush());
  emit(sink);
  timeline_.skip(duration - std::min(filled, duration));
}

void Conversion::code(Source& source, codec::ConstPcm pcm, PacketSink& sink) noexcept {
  if (source.resampler) pcm = codec::ConstPcm{resampled_}.first(source.resampler->process(pcm, resampled_));
  if (!repacketizer_.push(pcm)) return;
  emit(sink);
}

void Conversion::emit(PacketSink& sink) noexcept {
  for (codec::ConstPcm frame = repacketizer_.pop(); !frame.empty(); frame = repacketizer_.pop()) {
    const std::span<std::uint8_t> room = sink.room();
    const std::size_t bytes = encoder_->encode(frame, room.subspan(k_fixed_header_bytes));
    const std::uint32_t duration = units_of(frame.size());
    if (bytes == 0) {
      timeline_.skip(duration);
      continue;
    }
    const std::uint32_t skipped = units_of(encoder_->skipped());
    timeline_.skip(skipped);
    write_header(room, timeline_.send(duration - skipped), to_.payload_type);
    sink.send(k_fixed_header_bytes + bytes);
  }
}

void Conversion::flush(PacketSink& sink) noexcept {
  repacketizer_.flush();
  emit(sink);
}

void Conversion::send(const audio::Stamp& stamp, std::uint8_t payload_type, codec::ConstPayload payload, PacketSink& sink) noexcept {
  const std::span<std::uint8_t> room = sink.room();
  if (payload.size() + k_fixed_header_bytes > room.size()) return;
  write_header(room, stamp, payload_type);
  std::copy(payload.begin(), payload.end(), room.begin() + k_fixed_header_bytes);
  sink.send(k_fixed_header_bytes + payload.size());
}

}  // namespace sipfarm::rtp
