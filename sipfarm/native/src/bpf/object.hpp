#pragma once

#include <span>
#include <string_view>

namespace sipfarm::bpf {

/// The ELF object that clang made of `bpf/NAME.bpf.c`. There only where SIPFARM_BPF is defined: the build had clang and libbpf.
std::span<const unsigned char> object(std::string_view name) noexcept;

}  // namespace sipfarm::bpf
