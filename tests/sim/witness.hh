// Who watches a simulated history: violated promises, a digest of everything published, and figures to tune by.
#pragma once

#include "pharos/base/bytes.hh"
#include "pharos/base/clock.hh"

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace pharos::sim {

struct Figures {
  std::uint64_t beacons_sent = 0, beacons_accepted = 0, turns = 0, publishes = 0, adoptions = 0,
                restarts = 0, falls = 0, assignments = 0, reversals = 0, own_reversals = 0,
                site_count = 0;
  std::uint64_t reversals_in_worst_hour = 0;  // of one site
  std::uint64_t falls_in_worst_hour = 0;
  double simulated_s = 0;
  double overloaded_s = 0;  // sites above their capacity, by how long
};

class Witness {
 public:
  // The history stops here: what comes after a broken promise says nothing.
  void violated(Instant at, std::string promise, std::string what) {
    if (ok())
      violation_ = promise + " at " + std::to_string(Duration{at.ns}.seconds()) + " s: " + what;
  }
  [[nodiscard]] bool ok() const noexcept { return violation_.empty(); }
  [[nodiscard]] const std::string& violation() const noexcept { return violation_; }

  void digest(ConstBytes bytes) noexcept {
    for (const auto byte : bytes)
      digest_ = (digest_ ^ static_cast<std::uint8_t>(byte)) * 0x100000001b3;
  }
  void digest(std::uint64_t number) noexcept { digest_ = (digest_ ^ number) * 0x100000001b3; }
  [[nodiscard]] std::uint64_t digest() const noexcept { return digest_; }

  Figures figures;

 private:
  std::string violation_;
  std::uint64_t digest_ = 0xcbf29ce484222325;
};

}  // namespace pharos::sim
