#include "codec/concealment.hpp"
#include "codec/makers.hpp"

#include <spandsp/telephony.h>  // before g726.h, which takes it for granted

#include <spandsp/g726.h>

namespace sipfarm::codec {

namespace {

constexpr std::uint32_t k_rate_hz = 8'000;
constexpr std::size_t k_samples_per_byte = 2;
constexpr std::size_t k_samples_max = samples_of(k_frame_ms_max, k_rate_hz);

struct FreeState {
  void operator()(g726_state_t* state) const noexcept { g726_free(state); }
};
using State = std::unique_ptr<g726_state_t, FreeState>;

/// The first sample goes to the least significant bits (RFC 3551 §4.5.4); ATM's AAL2-G726-32 has it the other way round.
State new_state() { return State{g726_init(nullptr, 32'000, G726_ENCODING_LINEAR, G726_PACKING_RIGHT)}; }

class G726Encoder final : public Encoder {
 public:
  explicit G726Encoder(State state) noexcept : state_{std::move(state)} {}
  std::size_t quantum() const noexcept override { return k_samples_per_byte; }
  std::size_t encode(ConstPcm pcm, Payload out) noexcept override {
    if (pcm.size() % k_samples_per_byte != 0 || pcm.size() > k_samples_max || pcm.size() / k_samples_per_byte > out.size()) return 0;
    return static_cast<std::size_t>(g726_encode(state_.get(), out.data(), pcm.data(), static_cast<int>(pcm.size())));
  }

 private:
  State state_;
};

class G726Decoder final : public Decoder {
 public:
  explicit G726Decoder(State state) : state_{std::move(state)} {}
  std::size_t duration(ConstPayload payload) const noexcept override {
    const std::size_t samples = payload.size() * k_samples_per_byte;
    return samples <= k_samples_max ? samples : 0;
  }
  std::size_t decode(ConstPayload payload, Pcm out) noexcept override {
    const std::size_t samples = duration(payload);
    if (samples == 0 || samples > out.size()) return 0;
    g726_decode(state_.get(), out.data(), payload.data(), static_cast<int>(payload.size()));
    concealer_.heard(out.first(samples));
    return samples;
  }
  void conceal(Pcm out) noexcept override { concealer_.fill(out); }

 private:
  State state_;
  Concealer concealer_{k_rate_hz};
};

}  // namespace

const Maker k_g726 = {
    [](const Format& format) noexcept { return objection_unless(format, k_rate_hz, k_rate_hz); },
    [](const Format&) -> std::unique_ptr<Encoder> {
      State state = new_state();
      return state ? std::make_unique<G726Encoder>(std::move(state)) : nullptr;
    },
    [](const Format&) -> std::unique_ptr<Decoder> {
      State state = new_state();
      return state ? std::make_unique<G726Decoder>(std::move(state)) : nullptr;
    },
};

}  // namespace sipfarm::codec
