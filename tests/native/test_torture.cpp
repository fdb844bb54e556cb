#include <doctest/doctest.h>

#include <set>
#include <string>

#include "sip/headers.hpp"
#include "sip/message.hpp"
#include "sip/rewrite.hpp"
#include "sip/uri.hpp"
#include "vectors.hpp"

using namespace sipfarm::sip;
using namespace sipfarm::tests;

namespace {

std::string outcome_of(const Message& message, bool parsed) {
  if (parsed) return "parsed";
  return message.failure().status == 0 ? "dropped" : "status " + std::to_string(message.failure().status);
}

std::size_t count_values(const Message& message, Header header) {
  HeaderCursor cursor{message, header};
  std::string_view value;
  std::size_t count = 0;
  while (cursor.next(value)) ++count;
  return count;
}

std::string contact_of(const Message& message, const std::string& field) {
  HeaderCursor cursor{message, Header::contact};
  std::string_view value;
  if (!cursor.next(value)) return "absent";
  const auto contact = NameAddr::parse(value);
  if (!contact) return "malformed";
  if (field == "contact") return std::string{contact->uri};
  if (field == "q") return std::to_string(parse_q(contact->param("q").value_or("")).value_or(-1));
  Param param;
  return ParamCursor{contact->params}.next(param) ? std::string{param.name} : "";
}

std::string uri_field(const Message& message, const std::string& field) {
  const auto uri = Uri::parse(message.request_uri());
  if (!uri) return "malformed";
  return field == "uri_host" ? std::string{uri->host} : std::to_string(uri->port);
}

std::string field_of(const Message& message, const std::string& field) {
  if (field == "method") return std::string{message.method_text()};
  if (field == "status") return std::to_string(message.status());
  if (field == "uri") return std::string{message.request_uri()};
  if (field == "cseq") return std::to_string(message.cseq());
  if (field == "max_forwards") return std::to_string(message.max_forwards());
  if (field == "call_id") return std::string{message.call_id()};
  if (field == "from_tag") return std::string{message.from_tag()};
  if (field == "to_tag") return std::string{message.to_tag()};
  if (field == "host") return std::string{message.top_via().host};
  if (field == "port") return std::to_string(message.top_via().port);
  if (field == "branch") return std::string{message.top_via().branch};
  if (field == "received") return std::string{message.top_via().received};
  if (field == "vias") return std::to_string(count_values(message, Header::via));
  if (field == "contacts") return std::to_string(count_values(message, Header::contact));
  if (field == "lines") return std::to_string(message.lines().size());
  if (field == "body") return std::to_string(message.body().size());
  if (field == "contact" || field == "contact_param" || field == "q") return contact_of(message, field);
  if (field == "uri_host" || field == "uri_port") return uri_field(message, field);
  return "no such field: " + field;
}

}  // namespace

TEST_CASE("every message of RFC 4475 and RFC 5118 has its expected outcome") {
  Message message;  // one for all: nothing may be left of the message before
  for (const Vector& vector : all_vectors()) {
    CAPTURE(vector.name);
    CAPTURE(vector.section);
    const bool parsed = message.parse(vector.bytes);
    CAPTURE(std::string{message.failure().reason == nullptr ? "" : message.failure().reason});
    CHECK(outcome_of(message, parsed) == vector.outcome);
    for (const auto& field : vector.fields) {
      CAPTURE(field.first);
      CHECK(field_of(message, field.first) == field.second);
    }
  }
}

TEST_CASE("each vector file has a line in its table") {
  for (const char* set : {"rfc4475", "rfc5118"}) {
    std::set<std::string> named;
    for (const Vector& vector : read_vectors(set)) named.insert(vector.name);
    for (const auto& entry : std::filesystem::directory_iterator{vectors_folder(set)})
      if (entry.path().extension() == ".dat") CHECK_MESSAGE(named.count(entry.path().stem().string()) == 1, entry.path().string());
  }
}

TEST_CASE("a torture message without edits leaves byte for byte") {
  for (const Vector& vector : all_vectors()) {
    Message message;
    if (!message.parse(vector.bytes)) continue;
    CAPTURE(vector.name);
    std::string out;
    Rewrite{message}.write(out);
    CHECK(out == vector.bytes.substr(0, out.size()));
    CHECK((out.size() == vector.bytes.size() || vector.name == "dblreq"));
  }
}
