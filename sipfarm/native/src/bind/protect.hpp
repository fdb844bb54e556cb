#pragma once

#include "bind/bind.hpp"
#include "sip/engine.hpp"

namespace sipfarm::bind {

void bind_protection(nb::module_& module);
void bind_protection(nb::class_<sip::Engine>& engine);
nb::dict faults_of(sip::Engine& engine);

}  // namespace sipfarm::bind
