#pragma once

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

/// The message vectors of tests/vectors and their tables.
namespace sipfarm::tests {

struct Vector {
  std::string name;
  std::string section;
  std::string outcome;
  std::vector<std::pair<std::string, std::string>> fields;
  std::string bytes;
};

inline std::filesystem::path vectors_folder(const std::string& set) {
  return std::filesystem::absolute(__FILE__).parent_path().parent_path() / "vectors" / set;
}

inline std::string read_bytes(const std::filesystem::path& path) {
  std::ifstream file{path, std::ios::binary};
  REQUIRE_MESSAGE(file.good(), path.string());
  return {std::istreambuf_iterator<char>{file}, {}};
}

inline std::vector<Vector> read_vectors(const std::string& set) {
  std::istringstream table{read_bytes(vectors_folder(set) / "expected.tsv")};
  std::vector<Vector> out;
  for (std::string line; std::getline(table, line);) {
    if (line.empty() || line.front() == '#') continue;
    std::istringstream columns{line};
    Vector vector;
    std::getline(columns, vector.name, '\t');
    std::getline(columns, vector.section, '\t');
    std::getline(columns, vector.outcome, '\t');
    for (std::string field; columns >> field;) {
      const std::size_t equals = field.find('=');
      vector.fields.emplace_back(field.substr(0, equals), field.substr(equals + 1));
    }
    vector.bytes = read_bytes(vectors_folder(set) / (vector.name + ".dat"));
    out.push_back(std::move(vector));
  }
  return out;
}

inline std::vector<Vector> all_vectors() {
  std::vector<Vector> out = read_vectors("rfc4475");
  for (Vector& vector : read_vectors("rfc5118")) out.push_back(std::move(vector));
  return out;
}

}  // namespace sipfarm::tests
