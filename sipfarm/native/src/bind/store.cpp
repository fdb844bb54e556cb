#include <nanobind/stl/string.h>

#include <utility>

#include "bind/bind.hpp"
#include "store/binding_writer.hpp"
#include "store/cell_reader.hpp"
#include "store/registration.hpp"

namespace sipfarm::bind {

namespace {

using store::BindingOutcome;
using store::BindingUpdate;
using store::BindingWriter;
using store::CellReader;
using store::Registered;

nb::object value_of(const Registered& registered) {
  return registered.changed ? nb::object(to_bytes(registered.value)) : nb::object(nb::none());
}

nb::tuple apply_register(nb::handle stored, nb::bytes update, std::int64_t wall_ms) {
  std::string_view value;
  if (!stored.is_none()) value = {PyBytes_AsString(stored.ptr()), static_cast<std::size_t>(PyBytes_Size(stored.ptr()))};
  const Registered done = store::apply_register(value, {update.c_str(), update.size()}, wall_ms);
  return nb::make_tuple(static_cast<int>(done.status), bindings_of(done), value_of(done), done.dead_at_wall_ms);
}

void submit(BindingWriter& writer, std::uint64_t ticket, nb::str aor, nb::bytes update, std::int64_t wall_ms) {
  const std::int64_t until_ms = store::monotonic_ms() + writer.timeout_ms();
  writer.submit({ticket, to_text(aor), {update.c_str(), update.size()}, wall_ms, until_ms});
}

nb::list take(BindingWriter& writer) {
  nb::list out;
  for (const BindingOutcome& outcome : writer.take()) {
    out.append(nb::make_tuple(outcome.asked.ticket, static_cast<int>(outcome.registered.status), bindings_of(outcome.registered),
                              to_str(outcome.error)));
  }
  return out;
}

void submit_read(CellReader& reader, std::uint64_t ticket, nb::handle keys) {
  store::CellRead read{ticket, {}};
  for (nb::handle key : keys) read.keys.push_back({to_text(key[0]), to_text(key[1]), to_text(key[2])});
  reader.submit(std::move(read));
}

nb::list take_values(CellReader& reader) {
  nb::list out;
  for (const store::CellValues& told : reader.take()) {
    nb::list values;
    for (const auto& value : told.values) values.append(value ? nb::object(to_bytes(*value)) : nb::object(nb::none()));
    out.append(nb::make_tuple(told.ticket, values, to_str(told.error)));
  }
  return out;
}

}  // namespace

nb::object bindings_of(const Registered& registered) {
  return registered.as_asked ? nb::object(nb::none()) : nb::object(to_bytes(registered.bindings));
}

void bind_store(nb::module_& module) {
  module.def("apply_register", &apply_register, nb::arg("stored").none(), nb::arg("update"), nb::arg("wall_ms"),
             "(status, live bindings or None: the update's one contact, new value or None: unchanged, when that is dead).");
  nb::class_<BindingWriter>(module, "BindingWriter", "A thread that applies register updates to the cells of a SQLite file.")
      .def(nb::init<const std::string&, std::int64_t>(), nb::arg("path"), nb::arg("timeout_ms"))
      .def_prop_ro("error", [](const BindingWriter& self) { return to_str(self.error()); }, "Why the file cannot be used, \"\" where it can.")
      .def_prop_ro("descriptor", &BindingWriter::descriptor, "Readable when outcomes can be taken.")
      .def("submit", &submit, nb::arg("ticket"), nb::arg("aor"), nb::arg("update"), nb::arg("wall_ms"))
      .def("take", &take, "(ticket, status, live bindings or None: the update's one contact, error) of each update that is done.")
      .def("close", &BindingWriter::close, nb::call_guard<nb::gil_scoped_release>(), "Finish what was submitted, and end the thread.");
  nb::class_<CellReader>(module, "CellReader", "A thread that reads cells of a SQLite file.")
      .def(nb::init<const std::string&>(), nb::arg("path"))
      .def_prop_ro("error", [](const CellReader& self) { return to_str(self.error()); }, "Why the file cannot be used, \"\" where it can.")
      .def_prop_ro("descriptor", &CellReader::descriptor, "Readable when values can be taken.")
      .def("submit", &submit_read, nb::arg("ticket"), nb::arg("keys"), "Keys are (noun, scope, name).")
      .def("take", &take_values, "(ticket, values in the order of the keys, error) of each read that is done.")
      .def("close", &CellReader::close, nb::call_guard<nb::gil_scoped_release>(), "Finish what was submitted, and end the thread.");
}

}  // namespace sipfarm::bind
