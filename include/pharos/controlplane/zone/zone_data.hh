// The contents of one zone: records in wire form, grouped into RRsets in canonical order, checked.
//
// Records live in one arena, 28 bytes each beside their names and RDATA, so that a zone of millions
// of names costs what its data costs. Filled by one thread with `add`, closed with `finish`,
// constant after that.
#pragma once

#include "pharos/base/bytes.hh"
#include "pharos/base/error.hh"
#include "pharos/wire/name_text.hh"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace pharos::controlplane {

inline constexpr unsigned zone_mistakes_max = 100;

// What is wrong with a zone. `where` of each is "file:line", or the zone's name.
// At most `zone_mistakes_max` of each kind are kept, the others counted.
struct ZoneReport {
  std::vector<Error> errors;
  std::vector<Error> warnings;
  std::uint64_t more_errors = 0;
  std::uint64_t more_warnings = 0;

  void error(std::string what, std::string where, std::string hint = {});
  void warning(std::string what, std::string where, std::string hint = {});
  [[nodiscard]] std::string text() const;  // one a line, errors first
};

struct ZoneRecord {
  std::uint32_t owner;  // offset of its name in wire form, case as written
  std::uint32_t rdata;  // offset, names in it uncompressed
  std::uint32_t ttl_s;
  std::uint32_t line;  // where it was written; 0: not from a file
  std::uint16_t file;  // index into the zone's files
  std::uint16_t rdata_bytes;
  std::uint16_t type;
  std::uint8_t owner_bytes;
  std::uint8_t reserved;
};

// Records of one owner and type, all of one TTL once the zone is finished.
struct Rrset {
  std::uint32_t first;  // index into records
  std::uint32_t count;
};

class ZoneData {
 public:
  explicit ZoneData(const dns::WireName& origin) : origin_(origin) {}

  // Appends a record of class IN. Errors: exhausted (more than 4 GiB of names and RDATA).
  [[nodiscard]] Status add(ConstBytes owner, std::uint16_t type, std::uint32_t ttl_s,
                           ConstBytes rdata, std::uint16_t file = 0, std::uint32_t line = 0);
  [[nodiscard]] std::uint16_t add_file(std::string path);  // for `file` of `add`

  // Sorts, drops what stands there twice, evens TTLs out, and finds everything that cannot be
  // served rightly. A zone with errors in the report must not be used. At most `zone_mistakes_max`
  // of each kind are kept.
  [[nodiscard]] ZoneReport finish();

  [[nodiscard]] ConstBytes origin() const noexcept { return origin_.view(); }
  [[nodiscard]] std::string name() const { return dns::name_text(origin()); }
  [[nodiscard]] std::uint32_t serial() const noexcept { return serial_; }
  [[nodiscard]] const std::vector<std::string>& files() const noexcept { return files_; }

  // In canonical order of owner, then by type, then by RDATA.
  [[nodiscard]] std::span<const ZoneRecord> records() const noexcept { return records_; }
  [[nodiscard]] std::span<const Rrset> rrsets() const noexcept { return rrsets_; }
  [[nodiscard]] std::span<const ZoneRecord> records_of(const Rrset& rrset) const noexcept {
    return records().subspan(rrset.first, rrset.count);
  }
  [[nodiscard]] ConstBytes owner_of(const ZoneRecord& record) const noexcept {
    return ConstBytes(bytes_).subspan(record.owner, record.owner_bytes);
  }
  [[nodiscard]] ConstBytes rdata_of(const ZoneRecord& record) const noexcept {
    return ConstBytes(bytes_).subspan(record.rdata, record.rdata_bytes);
  }
  [[nodiscard]] std::string place_of(const ZoneRecord& record) const;  // "file:line"

  // The RRset of an owner (any case) and type, or nullptr. All RRsets of an owner (any type), or none.
  // Finished zones only; one hash.
  [[nodiscard]] const Rrset* find(ConstBytes owner, std::uint16_t type) const noexcept;
  [[nodiscard]] std::span<const Rrset> find_all(ConstBytes owner) const noexcept;

 private:
  void sort_records();
  void group_records(ZoneReport& report);
  void index_owners();

  dns::WireName origin_;
  std::uint32_t serial_ = 0;
  std::vector<std::string> files_;
  std::vector<std::byte> bytes_;
  std::vector<ZoneRecord> records_;
  std::vector<Rrset> rrsets_;
  // Open addressing: 1 + the first RRset of an owner, or 0.
  std::vector<std::uint32_t> owner_index_;
};

// What finish() looks for behind sorting and grouping; see zone_check.cc. Adds to `report`.
void check_finished_zone(const ZoneData& zone, ZoneReport& report);

// The domain name that RDATA of a well-known type holds first (the target of NS, CNAME, DNAME, PTR, MX, SRV, SVCB,
// HTTPS; the MNAME of SOA); empty for other types. `rdata` has passed rdata_is_sound.
[[nodiscard]] ConstBytes target_of(std::uint16_t type, ConstBytes rdata) noexcept;

// Whether RDATA of the types that Pharos itself looks into has their form; true for all others.
[[nodiscard]] bool rdata_is_sound(std::uint16_t type, ConstBytes rdata) noexcept;

}  // namespace pharos::controlplane
