#pragma once

#include "codec/codec.hpp"

namespace sipfarm::codec {

// ITU-T G.711, with the rounding of negative values that the reference of G.191 has. The spans are of one length.
void compress_ulaw(ConstPcm pcm, Payload out) noexcept;
void compress_alaw(ConstPcm pcm, Payload out) noexcept;
void expand_ulaw(ConstPayload payload, Pcm out) noexcept;
void expand_alaw(ConstPayload payload, Pcm out) noexcept;

}  // namespace sipfarm::codec
