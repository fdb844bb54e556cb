#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "audio/reorder.hpp"
#include "audio/repacketizer.hpp"
#include "audio/resampler.hpp"
#include "audio/timeline.hpp"
#include "codec/codec.hpp"
#include "rtp/bridge_plan.hpp"
#include "rtp/stream.hpp"

namespace sipfarm::rtp {

/// Where the packets of a conversion go.
class PacketSink {
 public:
  /// Room for a packet; the same until `send`.
  virtual std::span<std::uint8_t> room() noexcept = 0;
  /// The first `bytes` of the room are a packet.
  virtual void send(std::size_t bytes) noexcept = 0;

 protected:
  ~PacketSink() = default;
};

/// Readable from any thread.
struct ConversionCounters {
  Counter converted;    // packets that were decoded and coded anew
  Counter passed;       // packets whose payload went on as it was
  Counter concealed;    // packets that never came and were made up
  Counter late;         // came too late, twice or from a stray source
  Counter unknown;      // of a payload type that was not agreed on
  Counter undecodable;
};

/// What one RTP stream needs to have numbers of its own: chosen at random by who makes it.
struct StreamStart {
  std::uint32_t ssrc = 0;
  std::uint16_t sequence = 0;
  std::uint32_t timestamp = 0;
};

/// One direction of a bridge: packets of one side become packets of the other. Driven by what comes: a packet in order is decoded
/// and sent on at once. What is lost is concealed here, since the far decoder would not see that it is missing.
class Conversion {
 public:
  /// Nothing, and the reason in words, where a codec cannot be made.
  static std::unique_ptr<Conversion> make(const BridgeSide& from, const BridgeSide& to, const StreamStart& start, const char*& objection);

  /// For `make`.
  Conversion(const BridgeSide& from, const BridgeSide& to, const StreamStart& start, std::unique_ptr<codec::Encoder> encoder);

  void receive(std::span<const std::uint8_t> bytes, std::int64_t now_us, PacketSink& sink) noexcept;
  /// Sends on what waited for a packet that is given up by now.
  void expire(std::int64_t now_us, PacketSink& sink) noexcept;
  std::optional<std::int64_t> deadline_us() const noexcept { return reorder_.deadline_us(); }

  /// The mode that the packets ask for which come here, for the way back (RFC 4867 §3.4); codec::k_no_mode: none.
  std::uint8_t requested_mode() const noexcept { return requested_mode_; }
  void request_mode(std::uint8_t mode) noexcept { encoder_->request_mode(mode); }

  const ConversionCounters& counters() const noexcept { return counters_; }

 private:
  struct Source {
    PayloadFormat of;
    std::unique_ptr<codec::Decoder> decoder;
    std::unique_ptr<audio::Resampler> resampler;  // none where rates are the same
    bool passes = false;                          // its payloads are what the far side takes
  };
  struct Event {
    std::uint32_t ssrc = 0;
    std::uint32_t came_with = 0;  // timestamp of the event being told, there and here
    std::uint32_t goes_with = 0;
    bool known = false;
  };

  Source* source_of(std::uint8_t payload_type) noexcept;
  static const BesideFormat* find(const std::vector<BesideFormat>& formats, std::uint8_t payload_type) noexcept;
  void take(const audio::Packet& packet, std::uint32_t lost, std::int64_t now_us, PacketSink& sink) noexcept;
  void take_audio(Source& source, const audio::Packet& packet, std::uint32_t lost, std::int64_t now_us, PacketSink& sink) noexcept;
  void take_event(const BesideFormat& format, const audio::Packet& packet, std::int64_t now_us, PacketSink& sink) noexcept;
  void take_noise(const BesideFormat& format, const audio::Packet& packet, std::int64_t now_us, PacketSink& sink) noexcept;
  void bridge_gap(Source& source, const audio::Packet& packet, std::uint32_t gap, std::uint32_t lost, PacketSink& sink) noexcept;
  void pass(const audio::Packet& packet, std::uint32_t duration, PacketSink& sink) noexcept;
  void pause(std::uint32_t duration, PacketSink& sink) noexcept;
  void code(Source& source, codec::ConstPcm pcm, PacketSink& sink) noexcept;
  void emit(PacketSink& sink) noexcept;
  void flush(PacketSink& sink) noexcept;
  void send(const audio::Stamp& stamp, std::uint8_t payload_type, codec::ConstPayload payload, PacketSink& sink) noexcept;
  std::uint32_t units_of(std::size_t samples) const noexcept;

  PayloadFormat to_;
  std::optional<BesideFormat> to_events_;
  std::optional<BesideFormat> to_noise_;
  bool listens_;
  std::vector<Source> sources_;
  std::vector<BesideFormat> events_;
  std::vector<BesideFormat> noise_;
  std::unique_ptr<codec::Encoder> encoder_;
  audio::Reorder reorder_;
  audio::Timeline timeline_;
  audio::Repacketizer repacketizer_;
  Event event_;
  std::vector<std::int16_t> decoded_;
  std::vector<std::int16_t> resampled_;
  std::uint8_t requested_mode_ = codec::k_no_mode;
  ConversionCounters counters_;
};

}  // namespace sipfarm::rtp
