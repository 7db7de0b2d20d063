// Seeded randomness of the random tests: the same seed, the same test.
#pragma once

#include <cstdint>
#include <random>

#include "../packets/octets.hh"

namespace pharos::oracle {

class Random {
 public:
  explicit Random(std::uint64_t seed) : engine_(seed) {}
  unsigned below(unsigned limit) { return static_cast<unsigned>(engine_() % limit); }
  bool chance(unsigned one_in) { return below(one_in) == 0; }
  packets::Octets octets(std::size_t count) {
    packets::Octets bytes(count);
    for (auto& b : bytes) b = static_cast<std::byte>(below(256));
    return bytes;
  }
  template <typename T, std::size_t n>
  const T& of(const T (&values)[n]) {
    return values[below(n)];
  }

 private:
  std::mt19937_64 engine_;
};

}  // namespace pharos::oracle
