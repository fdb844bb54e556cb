#include <doctest/doctest.h>

#include "sip/register_request.hpp"

// What is read of a REGISTER (RFC 3261 §10.3, RFC 3327, RFC 5626); what follows from it is tested in tests/signaling/test_registration.py.

using namespace sipfarm;
using namespace sipfarm::sip;

namespace {

const OwnAddresses own{{"198.51.100.1", "[2001:db8::5]"}, {5060, 5061}};
using Fitness = RegisterContact::Fitness;

void parse(Message& request, const std::string& lines, const std::string& uri = "sip:x.test", const std::string& to = "<sip:alice@x.test>") {
  REQUIRE(request.parse("REGISTER " + uri + " SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.10;branch=z9hG4bK1\r\nFrom: <sip:alice@x.test>;tag=1\r\nTo: " +
                        to + "\r\nCall-ID: c\r\nCSeq: 1 REGISTER\r\n" + lines + "\r\n"));
}

RegisterContacts contacts(const std::string& lines, const std::string& source = "192.0.2.10") {
  Message request;
  parse(request, lines);
  net::Hop hop;
  hop.remote = *net::Address::parse(source, 5060);
  return read_contacts(request, hop, own, 4);
}

RegisterContact contact(const std::string& value) {
  const auto found = contacts("Contact: " + value + "\r\n");
  REQUIRE(found.contacts.size() == 1);
  return found.contacts[0];
}

std::string key(const std::string& uri) { return contact("<" + uri + ">").key; }

}  // namespace

TEST_CASE("who is registered where") {
  Message request;
  std::string_view malformed;
  parse(request, "", "sip:198.51.100.1", "\"A\" <sips:%61lice@X.Test.:5061;x=1>;y");
  const auto found = read_registrant(request, own, malformed);
  REQUIRE(found);
  CHECK(found->is_sip);
  CHECK(found->user == "alice");
  CHECK(found->domain.host == "x.test");
  CHECK_FALSE(found->domain.is_farm);
  CHECK(found->registrar.is_farm);
  parse(request, "", "sip:x.test", "<tel:1001>");
  CHECK_FALSE(read_registrant(request, own, malformed)->is_sip);
  parse(request, "", "sip:x.test", "<sip:@x.test:99999999>");
  CHECK_FALSE(read_registrant(request, own, malformed));
  CHECK(malformed == "Malformed To");
}

TEST_CASE("an address with a port that is not ours is a phone") {
  CHECK(contact("<sip:a@192.0.2.10:7000>").place.host == "");
  CHECK(contact("<sip:a@192.0.2.10>").place.host == "192.0.2.10");
  CHECK(contact("<sip:a@host.test:7000>").place.host == "host.test");
  CHECK(contact("<sip:a@[2001:DB8::5]:5061>").place.is_farm);
  CHECK_FALSE(contact("<sip:a@198.51.100.1:7000>").place.is_farm);
  CHECK(contact("<sip:a@x1.invalid>").place.host == "");
}

TEST_CASE("contacts are told apart like URIs, but by every parameter") {
  CHECK(key("sip:bob@192.0.2.4") == key("SIP:bob@192.0.2.4"));
  CHECK(key("sip:bob@Phone.Example") == key("sip:bob@phone.example"));
  CHECK(key("sip:%62ob@192.0.2.4") == key("sip:bob@192.0.2.4"));
  CHECK(key("sip:bob@192.0.2.4;ob;transport=TCP") == key("sip:bob@192.0.2.4;transport=tcp;ob"));
  CHECK(key("sip:bob@192.0.2.4;transport=TCP;ob") == "sip:bob@192.0.2.4;ob=;transport=tcp");
  CHECK(key("sip:bob@192.0.2.4") != key("sip:Bob@192.0.2.4"));
  CHECK(key("sip:bob@192.0.2.4") != key("sip:bob@192.0.2.4:5060"));
  CHECK(key("sip:bob@192.0.2.4") != key("sips:bob@192.0.2.4"));
  CHECK(key("sip:bob@192.0.2.4;line=1") != key("sip:bob@192.0.2.4;line=2"));
}

TEST_CASE("parameters of a contact, malformed ones by their default") {
  const auto whole = contact("<sip:a@192.0.2.10>;Q=0.05;expires=\"60\";+sip.Instance=\"<urn:\\x>\";reg-id=7");
  CHECK(whole.q == 50);
  CHECK(whole.expires_s == 60);
  CHECK(whole.instance_id == "<urn:x>");
  CHECK(whole.reg_id == 7);
  const auto odd = contact("<sip:a@192.0.2.10>;q=0.0001;expires=1e3;reg-id=-1");
  CHECK(odd.q == 1'000);
  CHECK(odd.expires_s == 3'600);
  CHECK(odd.reg_id == 0);
  CHECK(contact("<sip:a@192.0.2.10>").expires_s == -1);
}

TEST_CASE("a contact that fits no Request-URI") {
  CHECK(contact("<sip:a@192.0.2.10").fitness == Fitness::malformed);
  CHECK(contact("<mailto:a@x.test>").fitness == Fitness::no_sip_uri);
  CHECK(contact("<sip:a@192.0.2.10?Route=x>").fitness == Fitness::no_request_uri);
  CHECK(contact("<sip:" + std::string(1'100, 'a') + "@192.0.2.10>").fitness == Fitness::no_request_uri);
  CHECK(contact("<sip:a?b@192.0.2.10>").fitness == Fitness::fit);
}

TEST_CASE("contacts are counted beyond the bound, and not read") {
  const auto found = contacts("Contact: <sip:1@a>, <sip:2@a>, *\r\nContact: <sip:3@a>, <sip:4@a>\r\n");
  CHECK(found.count == 5);
  CHECK(found.has_wildcard);
  CHECK(found.contacts.size() == 3);
}

TEST_CASE("what all contacts share") {
  const auto found = contacts("Path: <sip:edge.test;lr;ob>,\r\n <sip:inner.test;lr>\r\nSupported: path, OutBound\r\nExpires: 99999999999\r\n");
  CHECK(found.path == std::vector<std::string>{"<sip:edge.test;lr;ob>", "<sip:inner.test;lr>"});
  CHECK(found.path_is_well_formed);
  CHECK_FALSE(found.edge_does_outbound);
  CHECK(found.supports_outbound);
  CHECK_FALSE(found.is_direct);
  CHECK(found.expires_s == UINT32_MAX);
  CHECK(contacts("").is_direct);
  CHECK_FALSE(contacts("Via: SIP/2.0/UDP 192.0.2.11\r\n").is_direct);
  CHECK_FALSE(contacts("Path: <sip:open\r\n").path_is_well_formed);
}

TEST_CASE("a contact is believed where nothing speaks of a NAT") {
  const auto believed = [](const std::string& uri, const std::string& source) {
    return contacts("Contact: <" + uri + ">\r\n", source).contacts[0].is_believed;
  };
  CHECK(believed("sip:a@192.0.2.10", "192.0.2.10"));
  CHECK(believed("sip:a@192.0.2.10:7000", "192.0.2.10"));  // another socket of the same host
  CHECK(believed("sip:a@203.0.113.5", "192.0.2.10"));      // a third party's registration
  CHECK_FALSE(believed("sip:a@10.0.0.5", "192.0.2.10"));
  CHECK_FALSE(believed("sip:a@172.20.0.5", "192.0.2.10"));
  CHECK(believed("sip:a@172.32.0.5", "192.0.2.10"));
  CHECK_FALSE(believed("sip:a@phone.local", "192.0.2.10"));
  CHECK_FALSE(believed("sip:a@203.0.113.5", "203.0.113.9"));  // the Via names another host
  CHECK(believed("sip:a@203.0.113.9", "203.0.113.9"));
}
