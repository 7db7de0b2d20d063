// Writes the records of one prepared answer (shared/answer.hh) with name compression and its relocations.
//
// For answers of the catalog, where owners and targets differ; the ranking's, all of one owner, have a shorter way
// (answer_encoder.hh). Reused from answer to answer; borrows the names and data until `finish`.
#pragma once

#include "pharos/base/bytes.hh"

#include <array>
#include <cstdint>
#include <vector>

namespace pharos::controlplane {

class AnswerWriter {
 public:
  enum class Section { answer, authority, additional };

  // `name` is the owner that the answer is prepared for. Below a wildcard it stands for the QNAME, so that nothing
  // but itself may point to it.
  void start(ConstBytes name, bool wildcard);

  // Sections come in their order. False, and nothing added, where the body would outgrow an answer.
  [[nodiscard]] bool add(Section section, ConstBytes owner, std::uint16_t type, std::uint32_t ttl_s,
                         ConstBytes rdata);

  // All records up to here must be sent; those that follow may be left out.
  void mark_required() noexcept;

  [[nodiscard]] ConstBytes name() const noexcept { return name_; }
  [[nodiscard]] std::size_t body_bytes() const noexcept { return body_.size(); }
  [[nodiscard]] std::uint16_t count_of(Section section) const noexcept {
    return counts_[static_cast<unsigned>(section)];
  }

  // Appends the Answer with body and relocations to `out`.
  void finish(std::vector<std::byte>& out);

 private:
  struct Suffix {
    ConstBytes name;
    std::uint16_t body_offset;
  };

  void put(ConstBytes bytes) { body_.insert(body_.end(), bytes.begin(), bytes.end()); }
  void put_name(ConstBytes name, bool may_point_to_owner);
  void put_pointer(unsigned target, bool into_body);
  [[nodiscard]] bool points_to_owner(ConstBytes suffix);
  [[nodiscard]] bool points_to_body(ConstBytes suffix);
  void put_rdata(std::uint16_t type, ConstBytes rdata);

  ConstBytes name_;
  bool wildcard_ = false;
  std::vector<std::byte> body_;
  std::vector<std::uint16_t> relocations_;
  std::vector<Suffix> suffixes_;
  std::array<std::uint16_t, 3> counts_{};
  std::size_t required_bytes_ = 0;
  std::uint16_t required_additional_ = 0;
  bool marked_ = false;
};

}  // namespace pharos::controlplane
