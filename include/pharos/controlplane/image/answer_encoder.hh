// Encodes records into a prepared answer (shared/answer.hh): bytes, relocations and checksum.
//
// Called by the engine thread; pure. All records are owned by the name of the question, so each one
// starts with the pointer 0xC00C and has one relocation. Names inside of the data stay
// uncompressed, as SRV and SVCB demand (RFC 2782; RFC 9460, 2.2).
#pragma once

#include "pharos/base/bytes.hh"
#include "pharos/base/error.hh"
#include "pharos/base/ip_address.hh"

#include <cstdint>
#include <span>
#include <vector>

namespace pharos::controlplane {

struct OwnedRecord {
  std::uint16_t type = 0;  // host order
  std::uint32_t ttl_s = 0;
  ConstBytes rdata;
};

// Additional records that may be left out: whole ones, with owners written out.
struct OptionalRecords {
  ConstBytes bytes = {};
  std::uint16_t count = 0;
};

// Appends one Answer with `records` in its answer section to `out`, which stays as it was on error.
// Errors: invalid (no records, a TTL above dns::ttl_max_s), exhausted (body or count too large).
[[nodiscard]] Status encode_answer(std::span<const OwnedRecord> records, OptionalRecords optional,
                                   std::vector<std::byte>& out);
[[nodiscard]] inline Status encode_answer(std::span<const OwnedRecord> records,
                                          std::vector<std::byte>& out) {
  return encode_answer(records, {}, out);
}

// The same for addresses in this order, type A or AAAA, all with one TTL (RFC 2181, 5.2). Errors:
// as above, and invalid where an address is not of the type's family.
[[nodiscard]] Status encode_address_answer(std::uint16_t type, std::uint32_t ttl_s,
                                           std::span<const IpAddress> addresses,
                                           std::vector<std::byte>& out);

}  // namespace pharos::controlplane
