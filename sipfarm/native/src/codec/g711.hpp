#pragma once

#include "codec/codec.hpp"

namespace sipfarm::codec {

// ITU-T G.711; a sample between two codes goes to the same one as with spandsp. The spans are of one length.
void compress_ulaw(ConstPcm pcm, Payload out) noexcept;
void compress_alaw(ConstPcm pcm, Payload out) noexcept;
void expand_ulaw(ConstPayload payload, Pcm out) noexcept;
void expand_alaw(ConstPayload payload, Pcm out) noexcept;

}  // namespace sipfarm::codec
