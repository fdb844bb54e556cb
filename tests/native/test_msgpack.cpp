#include "net/msgpack.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace sipfarm::net;

TEST_CASE("msgpack: numbers take the shortest form and come back (specification, uint)") {
  const std::pair<std::uint64_t, std::size_t> cases[] = {{0, 1},      {127, 1},        {128, 2},        {255, 2},
                                                         {256, 3},    {65'535, 3},     {65'536, 5},     {UINT32_MAX, 5},
                                                         {std::uint64_t{UINT32_MAX} + 1, 9}, {UINT64_MAX, 9}};
  for (const auto& [value, size] : cases) {
    std::string out;
    MsgpackWriter{out}.uint(value);
    CHECK(out.size() == size);
    MsgpackReader reader{out};
    CHECK(reader.uint() == value);
    CHECK(reader.empty());
  }
}

TEST_CASE("msgpack: arrays and bytes, empty and large") {
  std::string out;
  MsgpackWriter writer{out};
  writer.array(15);
  const std::string large(70'000, 'x');
  writer.bin("");
  writer.bin(large);
  MsgpackReader reader{out};
  CHECK(reader.array() == 15);
  CHECK(reader.bin() == "");
  CHECK(reader.bin() == large);
  CHECK(reader.empty());
  MsgpackReader medium{std::string_view{"\xc5\x00\x02hi", 5}};  // others may write bin 16
  CHECK(medium.bin() == "hi");
}

TEST_CASE("msgpack: other types, lengths beyond the end and no bytes at all are nothing") {
  for (const std::string& bytes : {std::string{}, std::string{"\xc0"}, std::string{"\xa1x"}, std::string{"\xcf\x01"}, std::string{"\xff"}}) {
    CHECK_FALSE(MsgpackReader{bytes}.uint());
    CHECK_FALSE(MsgpackReader{bytes}.array());
    CHECK_FALSE(MsgpackReader{bytes}.bin());
  }
  CHECK_FALSE(MsgpackReader{std::string_view{"\xc6\xff\xff\xff\xffx", 6}}.bin());
  CHECK_FALSE(MsgpackReader{std::string_view{"\xc4\x02x", 3}}.bin());
}
