#include "engine_farm.hpp"

// Requests within dialogs of a member that has died: who has its calls now is asked of Python, and stands in the Contact of an heir.

using namespace sipfarm;
using namespace sipfarm::tests;

namespace {

/// Member 2 was the user agent of a dialog, and is dead.
struct Orphaned {
  Orphaned() : tag{farm[2].engine.mint_tag("call-1")}, contact{farm[2].engine.mint_contact("call-1", 0)} {
    farm.dead = 2;
    farm.view_of(1, {1, 3});
    farm.view_of(3, {1, 3});
    farm.run();
  }

  Ask ask(const std::string& method) const {
    Ask asked;
    asked.method = method;
    asked.uri = contact;
    asked.to_tag = tag;
    asked.cseq = 7;
    return asked;
  }
  sip::Event orphan(const Ask& asked) {
    farm.receive(1, alice, asked.text());
    REQUIRE(farm.asked() == 1);
    return farm[1].take_event(sip::EventKind::orphan);
  }
  void place(const sip::Event& orphan, std::uint16_t member) {
    farm[1].act([&](sip::Engine& e, std::int64_t now, sip::Output& out) { e.place_orphan(orphan.message, orphan.hop, member, now, out); });
    farm.run();
  }

  Farm farm;
  std::string tag;
  std::string contact;
};

}  // namespace

TEST_CASE("a request for a dead member's dialog is asked about, and nothing is answered before") {
  Orphaned was;
  {
    const sip::Event orphan = was.orphan(was.ask("BYE"));
    CHECK(orphan.number == 2);
    CHECK(orphan.id == 10);
    was.farm[1].nothing_sent();
    was.place(orphan, 3);
  }
  was.farm[3].respond(was.farm[3].take_event(sip::EventKind::request).id, 200);
  was.farm[3].take("SIP/2.0 200");
  was.farm.at_rest();
}

TEST_CASE("a repeated orphan meets its transaction at the heir") {
  Orphaned was;
  was.place(was.orphan(was.ask("BYE")), 3);
  was.farm[3].respond(was.farm[3].take_event(sip::EventKind::request).id, 200);
  const std::string ok = was.farm[3].take("SIP/2.0 200");
  was.place(was.orphan(was.ask("BYE")), 3);
  CHECK(was.farm[3].take("SIP/2.0 200") == ok);
  CHECK(was.farm.asked() == 0);
  was.farm.at_rest();
}

TEST_CASE("the member that is asked may be the heir itself") {
  Orphaned was;
  was.place(was.orphan(was.ask("INFO")), 1);
  was.farm[1].respond(was.farm[1].take_event(sip::EventKind::request).id, 200);
  was.farm[1].take("SIP/2.0 200");
  was.farm.at_rest();
}

TEST_CASE("an orphan of a call that nobody has gets 481, its ACK nothing") {
  Orphaned was;
  was.place(was.orphan(was.ask("BYE")), 0);
  was.farm[1].take("SIP/2.0 481");
  was.place(was.orphan(was.ask("ACK")), 0);
  was.farm[1].nothing_sent();
  was.farm.at_rest();
}

TEST_CASE("an ACK to a 2xx of the heir reaches it by the old marks too") {
  Orphaned was;
  was.place(was.orphan(was.ask("ACK")), 3);
  was.farm[3].take_event(sip::EventKind::ack);
  was.farm.at_rest();
}

TEST_CASE("the Contact of an heir goes before the tag of the dead") {
  Orphaned was;
  Ask bye = was.ask("BYE");
  bye.uri = was.farm[3].engine.mint_contact("call-1", 0);
  was.farm.receive(1, alice, bye.text());
  REQUIRE(was.farm.asked() == 3);
  was.farm[3].respond(was.farm[3].take_event(sip::EventKind::request).id, 200);
  was.farm[3].take("SIP/2.0 200");
  Ask ack = was.ask("ACK");
  ack.uri = bye.uri;
  was.farm.receive(1, alice, ack.text());
  was.farm[3].take_event(sip::EventKind::ack);
  was.farm.at_rest();
}

TEST_CASE("the Contact of an heir that has died too leaves the tag") {
  Orphaned was;
  Ask bye = was.ask("BYE");
  bye.uri = was.farm[3].engine.mint_contact("call-1", 0);
  was.farm.view_of(1, {1});
  const sip::Event orphan = was.orphan(bye);
  CHECK(orphan.number == 2);
  CHECK(orphan.id == 10);
}

TEST_CASE("a tag without a call, or of another Call-ID, makes no orphan") {
  Orphaned was;
  Ask other = was.ask("BYE");
  other.call_id = "call-2";
  was.farm.receive(1, alice, other.text());
  for (const std::uint16_t number : std::initializer_list<std::uint16_t>{1, 3}) {
    for (const sip::Event& event : was.farm[number].events) CHECK(event.kind == sip::EventKind::request);
  }
}
