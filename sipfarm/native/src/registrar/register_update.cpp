#include "registrar/register_update.hpp"

#include "net/msgpack.hpp"
#include "store/record_reader.hpp"

namespace sipfarm::registrar {

void append_update(std::string& out, const PlainUpdate& update) {
  net::MsgpackWriter writer{out};
  writer.array(7);
  writer.str(update.aor);
  writer.str(update.call_id);
  writer.uint(update.cseq);
  writer.array(1);  // contacts
  writer.array(13);
  writer.str(update.aor);
  writer.str(update.contact.uri);
  writer.str(update.contact.key);
  writer.str(update.call_id);
  writer.uint(update.cseq);
  writer.uint(static_cast<std::uint64_t>(update.expires_at_wall_ms));
  writer.str(update.contact.instance_id);
  writer.uint(0);   // reg-id
  writer.array(0);  // path
  writer.uint(static_cast<std::uint64_t>(update.contact.q));
  writer.str(update.received);
  writer.str(update.flow);
  writer.str(update.user_agent);
  writer.array(0);  // removals
  writer.boolean(false);  // wildcard
  writer.uint(update.bindings_max);
}

std::string_view contacts_of(std::string_view update) noexcept {
  store::RecordReader reader{update};
  reader.array();
  reader.str();
  reader.str();
  reader.integer();
  const char* begin = reader.here();
  reader.skip();
  return reader.failed() ? std::string_view{} : reader.since(begin);
}

}  // namespace sipfarm::registrar
