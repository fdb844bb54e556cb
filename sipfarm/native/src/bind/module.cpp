#include "bind/bind.hpp"

namespace sipfarm::bind {

NB_MODULE(_native, module) {
  nb::set_leak_warnings(false);  // what lives when the process ends goes with it, and nobody is to read of it on stderr
  module.doc() = "The native core: SIP engine, UDP batches, RTP plane.";
  nb::dict build;
  build["version"] = SIPFARM_VERSION;
  build["commit"] = SIPFARM_COMMIT;
  build["build_type"] = SIPFARM_BUILD_TYPE;
  build["sanitizers"] = SIPFARM_SANITIZERS;
  build["codecs"] = to_str(codec_names());
  build["compiler"] = __VERSION__;
  module.def("build_info", [build]() { return nb::dict(build); }, "What this build was made of; goes into every benchmark record.");
  bind_message(module);
  bind_digest(module);
  bind_net(module);
  bind_srtp(module);
  bind_media(module);
  bind_codec(module);
  bind_audio(module);
  bind_engine(module);
  bind_store(module);
  bind_register(module);
  bind_express(module);
}

}  // namespace sipfarm::bind
