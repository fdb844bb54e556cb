#include "bind/bind.hpp"
#include "registrar/express_lane.hpp"

namespace sipfarm::bind {

namespace {

using registrar::ExpressConfig;
using registrar::ExpressLane;

void admit(ExpressLane& lane, const ReceivedMessage& request, nb::str ha1_md5, nb::str ha1_sha256, std::int64_t until_ms, std::uint64_t age) {
  const std::string md5 = to_text(ha1_md5);
  const std::string sha256 = to_text(ha1_sha256);
  lane.admit(*request.message, request.hop, {md5, sha256}, until_ms, age);
}

nb::tuple take(ExpressLane& lane, sip::Engine& engine, sip::Output& out, std::int64_t now_ms, std::int64_t wall_ms) {
  const ExpressLane::Told told = lane.take(engine, out, now_ms, wall_ms);
  nb::list bound;
  for (const auto& [aor, bindings] : told.bound) bound.append(nb::make_tuple(to_str(aor), to_bytes(bindings)));
  nb::list left;
  for (const auto& [request, source, outcome] : told.left) {
    left.append(nb::make_tuple(ReceivedMessage{request, source, outcome.asked.ticket}, to_bytes(outcome.asked.update),
                               static_cast<int>(outcome.registered.status), bindings_of(outcome.registered), to_str(outcome.error)));
  }
  nb::list late;
  for (const std::string& aor : told.late) late.append(to_str(aor));
  return nb::make_tuple(bound, left, late);
}

nb::list overdue(ExpressLane& lane, sip::Engine& engine, std::int64_t now_ms) {
  nb::list out;
  for (const std::uint64_t transaction : lane.overdue(engine, now_ms)) out.append(transaction);
  return out;
}

nb::dict counters_of(const ExpressLane& lane) {
  nb::dict out;
  out["registered"] = lane.counters().registered;
  out["left"] = lane.counters().left;
  out["crowded"] = lane.counters().crowded;
  out["admitted"] = lane.admitted();
  out["waiting"] = lane.waiting();
  return out;
}

}  // namespace

void bind_express(nb::module_& module) {
  nb::class_<ExpressLane>(module, "ExpressLane", "Registers again, without a decision for each, who was registered once.")
      .def("__init__",
           [](ExpressLane* self, sip::DigestGuard& guard, store::BindingWriter& writer, const sip::OwnAddresses& own, std::int64_t expires_min_s,
              std::int64_t expires_max_s, std::int64_t expires_default_s, std::uint64_t bindings_max, nb::handle headers, bool bound_to_receiver,
              std::size_t accounts_max, std::size_t waiting_max) {
             ExpressConfig config{own, expires_min_s, expires_max_s, expires_default_s, bindings_max, {}, bound_to_receiver, accounts_max, waiting_max};
             append_header_lines(config.lines, headers);
             new (self) ExpressLane(std::move(config), guard, writer);
           },
           nb::arg("guard"), nb::arg("writer"), nb::arg("own"), nb::kw_only(), nb::arg("expires_min_s"), nb::arg("expires_max_s"),
           nb::arg("expires_default_s"), nb::arg("bindings_max"), nb::arg("headers"), nb::arg("bound_to_receiver"), nb::arg("accounts_max"),
           nb::arg("waiting_max"), nb::keep_alive<1, 2>(), nb::keep_alive<1, 3>())
      .def("admit", &admit, nb::arg("request"), nb::arg("ha1_md5"), nb::arg("ha1_sha256"), nb::arg("until_ms"), nb::arg("age"),
           "The account that this request has registered may come by here until then, as long as names are of that age.")
      .def("run", &ExpressLane::run, nb::arg("engine"), nb::arg("out"), nb::arg("now_ms"), nb::arg("wall_ms"), nb::arg("age"),
           "Take up those among the events that it can; take them out.")
      .def_prop_ro("descriptor", &ExpressLane::descriptor, "Readable when outcomes can be taken.")
      .def("take", &take, nb::arg("engine"), nb::arg("out"), nb::arg("now_ms"), nb::arg("wall_ms"),
           "(AOR, stored bindings) of each that is registered and answered; (request, stored update, status, bindings or None, error) of each that "
           "is left; the AOR of each that was done when nobody waited for it any more.")
      .def("next_deadline_ms",
           [](const ExpressLane& self) -> nb::object {
             const auto deadline = self.next_deadline_ms();
             return deadline ? nb::object(nb::int_(*deadline)) : nb::object(nb::none());
           })
      .def("overdue", &overdue, nb::arg("engine"), nb::arg("now_ms"), "The transactions that have waited too long, each told once.")
      .def_prop_ro("waiting", &ExpressLane::waiting, "REGISTERs that wait for the store.")
      .def("counters", &counters_of);
}

}  // namespace sipfarm::bind
