// The smallest configuration that makes sense, and what is wrong with a text, for the tests of this folder.
#pragma once

#include "pharos/config/model.hh"

#include <gtest/gtest.h>

#include <string>

namespace pharos::config {

// One site, one zone, one service; `more` follows.
inline std::string small(const std::string& more = {}) {
  return "sites:\n"
         "  - {id: fra, location: [50.11, 8.68]}\n"
         "zones:\n"
         "  - {id: example.com}\n"
         "services:\n"
         "  - id: www\n"
         "    names: [www.example.com]\n"
         "    endpoints:\n"
         "      - {id: a, site: fra, address: 192.0.2.1}\n" +
         more;
}

inline std::string mistakes_of(const std::string& text) {
  const auto result = load_text(text, "test.yaml", Reading::without_secrets);
  return result ? std::string() : result.error().text();
}

// Expects exactly one mistake, written as given.
inline void expect_mistake(const std::string& text, const std::string& message) {
  EXPECT_EQ(mistakes_of(text), message + "\n") << text;
}

}  // namespace pharos::config
