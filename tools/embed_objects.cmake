# Writes OUTPUT, the C++ source of sipfarm::bpf::object(), from the object files OBJECTS.
set(arrays "")
set(cases "")
foreach(path IN LISTS OBJECTS)
  get_filename_component(name ${path} NAME_WE)
  file(READ ${path} bytes HEX)
  string(REGEX REPLACE "(..)" "0x\\1," bytes "${bytes}")
  string(APPEND arrays "alignas(8) constexpr unsigned char ${name}[] = {${bytes}};\n")
  string(APPEND cases "  if (name == \"${name}\") return ${name};\n")
endforeach()
file(WRITE ${OUTPUT} "#include \"bpf/object.hpp\"

namespace sipfarm::bpf {
namespace {

${arrays}
}  // namespace

std::span<const unsigned char> object(std::string_view name) noexcept {
${cases}  return {};
}

}  // namespace sipfarm::bpf
")
