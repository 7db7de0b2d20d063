// SRV, SVCB and HTTPS answers of the ranking: endpoints as such records name them, and the records in order.
//
// What does not change with the ranking (target name, port, parameters, addresses) is encoded once per configuration;
// a cell only says which endpoints, in which rank and with which weight. Pure.
#pragma once

#include "pharos/base/bytes.hh"
#include "pharos/base/error.hh"
#include "pharos/config/model.hh"
#include "pharos/wire/dns.hh"

#include <cstdint>
#include <span>
#include <vector>

namespace pharos::controlplane {

// One endpoint in records of one type.
struct RecordTarget {
  std::vector<std::byte> rdata_tail;  // SRV: port and target; SVCB, HTTPS: target and parameters
  // Address records of the target where we answer them, whole, owners written out: for the additional section.
  std::vector<std::byte> additional;
  std::uint16_t additional_count = 0;
};

// Those of all endpoints of a service, in its order. `type` is SRV, SVCB or HTTPS. Errors: invalid (a target that is
// no name, at the endpoint's line).
[[nodiscard]] Result<std::vector<RecordTarget>> record_targets_of(
    const config::ServiceConfig& service, dns::Type type);

// A record of an answer: its target, and what the ranking says of it.
struct RankedRecord {
  std::uint16_t target = 0;    // index
  std::uint16_t priority = 0;  // 1: best
  std::uint16_t weight = 0;    // SRV only

  friend bool operator==(const RankedRecord&, const RankedRecord&) = default;
};

// Appends one Answer with these records, all of one TTL, to `out`, which stays as it was on error. The targets'
// addresses follow as optional additional records, best target first, while the whole stays within what the common
// EDNS reply holds. Errors: as of encode_answer.
[[nodiscard]] Status encode_record_answer(std::uint16_t type, std::uint32_t ttl_s,
                                          std::span<const RecordTarget> targets,
                                          std::span<const RankedRecord> records,
                                          std::vector<std::byte>& out);

}  // namespace pharos::controlplane
