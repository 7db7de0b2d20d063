// The expressions of a catalog's name policies, ready to scan with, and how often each rule was hit.
//
// Made by the control thread when a catalog is adopted, which allocates; from then on each serving thread scans with the
// scratch of its own seat and counts in its own row, and allocates nothing. A set goes on where the next catalog has the
// same policies. Only this unit knows Hyperscan in the data plane.
#pragma once

#include "pharos/base/error.hh"
#include "pharos/dataplane/match/name_lookup.hh"
#include "pharos/shared/policy_image.hh"

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

struct hs_database;
struct hs_scratch;

namespace pharos::dataplane {

// Seats: serving threads that may scan at the same time, numbered from 0.
inline constexpr unsigned policy_seats_max = 256;
// Longest text of a name: 253 octets of which each may take four characters, and slack for stores of 32 bytes.
inline constexpr unsigned policy_text_bytes_max = 4 * 255 + 64;

class PolicySet {
 public:
  // Of a proven catalog's policies, which must not be empty. Errors: unsupported (the database was written by another
  // Hyperscan or for another CPU), unavailable (no memory).
  [[nodiscard]] static Result<std::shared_ptr<PolicySet>> make(const catalog::PolicyView& policies,
                                                               unsigned seat_count);
  ~PolicySet();
  PolicySet(const PolicySet&) = delete;
  PolicySet& operator=(const PolicySet&) = delete;

  [[nodiscard]] std::uint64_t content_id() const noexcept { return content_id_; }
  [[nodiscard]] unsigned seat_count() const noexcept {
    return static_cast<unsigned>(seats_.size());
  }

  // The first rule whose expressions match the text, as a verdict; 0: none.
  [[nodiscard]] std::uint32_t scan(unsigned seat, const char* text, unsigned text_bytes) noexcept;

  // Whether texts may be scanned together. They may not where an expression asks for the ends of its whole text.
  [[nodiscard]] bool scans_lines() const noexcept { return scans_lines_; }
  // At most 64 texts, each with a line end behind it; text i begins at `begins[i]`, the last entry is behind the last line
  // end. Bit i: an expression may take text i, and it has to be scanned alone. No bit: none does. One call for many names,
  // since most of what a scan of a short text takes is its beginning and end.
  [[nodiscard]] std::uint64_t scan_lines(unsigned seat, const char* text,
                                         std::span<const std::uint32_t> begins) noexcept;

  // One query that a rule decided. `verdict` is not 0.
  void count(unsigned seat, std::uint32_t verdict) noexcept {
    auto& hits = seats_[seat].hits[verdict - 1];
    // relaxed: one writer, and readers need no order; compiles to a plain add
    std::atomic_ref(hits).store(hits + 1, std::memory_order_relaxed);
  }
  // Of all seats. Control thread.
  [[nodiscard]] std::uint64_t hits(std::uint32_t rule) const noexcept;

 private:
  struct alignas(128) Seat {
    hs_scratch* scratch = nullptr;  // null where there are no expressions
    std::vector<std::uint64_t> hits;
  };
  explicit PolicySet(std::uint64_t content_id) noexcept : content_id_(content_id) {}

  std::uint64_t content_id_;
  hs_database* database_ = nullptr;
  bool scans_lines_ = false;
  std::vector<Seat> seats_;
};

// Writes the text of a folded sound name of `name_bytes` bytes and these labels that patterns match
// (config/name_pattern.hh): labels and dots without the last one, "." for the root, other octets escaped. Returns its
// length; at most policy_text_bytes_max are written. Reads up to 31 bytes behind the name.
[[nodiscard]] unsigned write_policy_text(const std::byte* name, unsigned name_bytes,
                                         const LabelMap& labels, char* text) noexcept;

namespace scalar {
[[nodiscard]] unsigned write_policy_text(const std::byte* name, char* text) noexcept;
}

}  // namespace pharos::dataplane
