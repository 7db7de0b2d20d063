// RDATA from its text, through ldns, and the small words before it: TTLs, types.
//
// Not thread-safe per object; ldns itself keeps no state here.
#pragma once

#include "pharos/base/bytes.hh"
#include "pharos/base/error.hh"
#include "pharos/wire/name_text.hh"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

struct ldns_struct_rdf;

namespace pharos::controlplane {

// Seconds from "3600" or "1h30m" (units s, m, h, d, w); nothing where it is no TTL at all. Values that do not fit 32
// bits come back as 0xffffffff, which no TTL may be.
[[nodiscard]] std::optional<std::uint32_t> parse_ttl(std::string_view text) noexcept;

// A type's number from its mnemonic or "TYPE65280"; nothing where ldns does not know it.
[[nodiscard]] std::optional<std::uint16_t> parse_type(std::string_view text);

// Reads RDATA; relative names in it are taken below the origin.
class RdataReader {
 public:
  explicit RdataReader(const dns::WireName& origin);
  ~RdataReader();
  RdataReader(const RdataReader&) = delete;
  RdataReader& operator=(const RdataReader&) = delete;

  void set_origin(const dns::WireName& origin);

  // RDATA in wire form, names uncompressed, from the presentation of `type` or from `\# bytes hex` (RFC 3597, 5). The
  // bytes stay good until the next call. Errors: invalid.
  [[nodiscard]] Result<ConstBytes> read(std::uint16_t type,
                                        std::span<const std::string_view> tokens);

 private:
  [[nodiscard]] Status read_generic(std::uint16_t type, std::span<const std::string_view> tokens);
  [[nodiscard]] bool read_plain(std::uint16_t type, std::span<const std::string_view> tokens);
  [[nodiscard]] Status read_known(std::uint16_t type, std::span<const std::string_view> tokens);

  ldns_struct_rdf* origin_ = nullptr;
  std::string line_;
  std::vector<std::byte> rdata_;
};

}  // namespace pharos::controlplane
