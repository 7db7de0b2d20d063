// ReplyBuilder: writes a reply part by part, in place of the request. For everything but the plain hit, which
// serve.cc writes by itself in fixed steps.
//
//   | header | question (stays as it came) | body of an answer | ... | OPT |
//                                          ^ question_end       ^ end()
//
// Parts are prepared answers, moved to where they now stand (shared/answer.hh), or single records. What does not
// fit turns the reply into a truncated one without records. finish() writes OPT, header and checksum, and counts.
#pragma once

#include "pharos/dataplane/dns/serve_state.hh"

namespace pharos::dataplane {

namespace extended_error {  // RFC 8914, 4
inline constexpr std::uint16_t none = 0xffff;
inline constexpr std::uint16_t blocked = 15;
inline constexpr std::uint16_t not_authoritative = 20;
inline constexpr std::uint16_t not_supported = 21;
}  // namespace extended_error

class ReplyBuilder {
 public:
  ReplyBuilder(const ServeState::Impl& state, Query& query, const Request& request,
               const EdnsOptions& options) noexcept;

  [[nodiscard]] unsigned end() const noexcept { return end_; }

  // Appends an answer whose owner was built as a name of `owner_bytes` and now stands at `owner_offset`. Its optional
  // additional records are left out where they do not fit. False, and truncated, where the rest does not fit either.
  bool append(const Answer& answer, unsigned owner_offset, unsigned owner_bytes) noexcept;

  // Appends one record to the answer section, owned by the name at `owner_offset`. False as above.
  bool append_record(unsigned owner_offset, std::uint16_t type, std::uint16_t klass,
                     std::uint32_t ttl_s, ConstBytes first, ConstBytes second = {}) noexcept;

  void set_scope(std::uint8_t length) noexcept { scope_ = length; }
  void explain(std::uint16_t info_code) noexcept { info_code_ = info_code; }

  // Leaves out all records that stand there, with TC.
  void truncate() noexcept;

  // Closes the reply. Sets verdict, reply_bytes and reply_checksum of the query.
  void finish(dns::Rcode rcode, bool authoritative, CoreCounters& counters) noexcept;

  // Closes a reply that is written a second time, over the first: without records, with TC where `rcode` is NOERROR.
  // Counts nothing again.
  void finish_cut(dns::Rcode rcode) noexcept;

 private:
  void close(dns::Rcode rcode, bool authoritative) noexcept;
  void write_opt(dns::Rcode rcode) noexcept;
  void write_cookie() noexcept;
  void write_subnet() noexcept;
  void put(const void* bytes, unsigned count) noexcept;
  void put16(std::uint16_t value) noexcept;

  const ServeState::Impl& state_;
  Query& query_;
  const Request& request_;
  const EdnsOptions& options_;
  unsigned end_;
  unsigned limit_;      // of the whole reply
  unsigned opt_bytes_;  // reserved, the extended error not counted
  bool truncated_ = false;
  bool fits_ = true;  // header, question and OPT do
  std::uint8_t scope_ = 0;
  std::uint16_t info_code_ = extended_error::none;
  unsigned answer_count_ = 0;
  unsigned authority_count_ = 0;
  unsigned additional_count_ = 0;
};

// A reply without records: header, question where it was read, OPT where it was asked for.
void reply_error(const ServeState::Impl& state, Query& query, const Request& request,
                 const EdnsOptions& options, dns::Rcode rcode, std::uint16_t info_code,
                 CoreCounters& counters) noexcept;

// A reply with TC and without records, so that the client comes back over TCP.
void reply_truncated(const ServeState::Impl& state, Query& query, const Request& request,
                     const EdnsOptions& options, CoreCounters& counters) noexcept;

// Makes the reply that stands in `query` a short one: question, and OPT with all but NSID. TC, or BADCOOKIE.
void cut_reply(const ServeState::Impl& state, Query& query, const Request& request,
               const EdnsOptions& options, dns::Rcode rcode) noexcept;

// What every request with a reply counts: type, transport, EDNS.
void count_request(const Query& query, const Request& request, CoreCounters& counters) noexcept;

[[nodiscard]] Counter counter_of(dns::Rcode rcode) noexcept;

}  // namespace pharos::dataplane
