// The static answers of a catalog: an RRset with what may go along, referrals, negative answers, DS at an apex.
//
// Used by build_catalog alone. Each call appends one Answer to the batch.
#pragma once

#include "pharos/controlplane/image/answer_writer.hh"
#include "pharos/controlplane/image/catalog_zones.hh"

namespace pharos::controlplane {

class CatalogAnswers {
 public:
  explicit CatalogAnswers(const CatalogZones& zones) : zones_(zones) {}

  // An RRset, prepared for its owner. Errors: exhausted (larger than an answer can be).
  [[nodiscard]] Status write_rrset(const ZoneData& zone, const Rrset& rrset, ConstBytes name,
                                   bool wildcard, std::vector<std::byte>& out);

  // An RRset that the configuration makes, at its name. Errors: exhausted.
  [[nodiscard]] Status write_made(const MadeRrset& rrset, ConstBytes name, bool wildcard,
                                  std::vector<std::byte>& out);

  // NS in the authority section; glue of servers in the delegated zone must go along (RFC 9471), of others may.
  // Errors: exhausted.
  [[nodiscard]] Status write_referral(const ZoneData& zone, const Rrset& servers, ConstBytes cut,
                                      std::vector<std::byte>& out);

  // The zone's SOA in the authority section with the TTL of negative answers (RFC 2308, 5), prepared for `name`.
  void write_negative(const ZoneData& zone, ConstBytes name, std::vector<std::byte>& out);

  // DS at the apex of an inner zone: the outer zone's records, or that it has none (RFC 4035, 3.1.4.1).
  [[nodiscard]] Status write_ds(const ZoneData& outer, ConstBytes name,
                                std::vector<std::byte>& out);

  // Where answers written since the last call lead to outside of the zone that they are of, or would have led with more
  // room. The names are in that zone's data.
  [[nodiscard]] std::vector<ForeignTarget> take_foreign();

  // min(SOA TTL, SOA MINIMUM).
  [[nodiscard]] static std::uint32_t negative_ttl_s(const ZoneData& zone);

 private:
  [[nodiscard]] bool write_records(const ZoneData& zone, const Rrset& rrset, ConstBytes owner,
                                   AnswerWriter::Section section);
  void write_optional(const ZoneData& zone, const Rrset& rrset, ConstBytes but);
  [[nodiscard]] bool write_data_of(const ZoneData& asking, ConstBytes name, ConstBytes as_written,
                                   std::uint16_t type_more);

  const CatalogZones& zones_;
  AnswerWriter writer_;
  std::vector<ForeignTarget> foreign_;
};

}  // namespace pharos::controlplane
