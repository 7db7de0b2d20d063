#include "pharos/dataplane/dns/reply.hh"

#include "pharos/base/assert.hh"
#include "pharos/wire/checksum.hh"

#include <algorithm>
#include <cstring>

namespace pharos::dataplane {

namespace {

constexpr unsigned option_header_bytes = 4;
constexpr unsigned extended_error_bytes = option_header_bytes + 2;

[[nodiscard]] unsigned subnet_address_bytes(const EdnsOptions& options) noexcept {
  return (options.subnet_length + 7U) / 8;
}

// Ignored over UDP, and never sent there (RFC 7828, 3.2.1 and 3.3.1).
[[nodiscard]] bool answers_keepalive(const ServeState::Impl& state, const Query& query,
                                     const Request& request) noexcept {
  return (request.edns & edns_flag::tcp_keepalive) != 0 && query.transport == Transport::tcp &&
         state.tcp_keepalive_ds != 0;
}

// OPT as it will stand in the reply, the extended error not counted.
[[nodiscard]] unsigned opt_bytes_of(const ServeState::Impl& state, const Query& query,
                                    const Request& request, const EdnsOptions& options) noexcept {
  if (request.edns == 0) return 0;
  unsigned bytes = opt_fixed_bytes;
  if ((request.edns & edns_flag::nsid) != 0 && !state.nsid.empty()) {
    bytes += option_header_bytes + static_cast<unsigned>(state.nsid.size());
  }
  if ((request.edns & edns_flag::client_subnet) != 0) {
    bytes += option_header_bytes + 4 + subnet_address_bytes(options);
  }
  if ((request.edns & edns_flag::cookie) != 0) {
    bytes += option_header_bytes + client_cookie_bytes + server_cookie_bytes;
  }
  if (answers_keepalive(state, query, request)) bytes += option_header_bytes + 2;
  return bytes;
}

void count_cookie(CookieState state, CoreCounters& counters) noexcept {
  if (state == CookieState::bad) counters.count(Counter::queries_cookie_invalid);
  if (state == CookieState::good || state == CookieState::ageing)
    counters.count(Counter::queries_cookie_valid);
}

// Adds to the pointers of a body that was copied to `body` how far their bases have moved.
void relocate(const Answer& answer, std::byte* body, unsigned body_bytes, unsigned owner_delta,
              unsigned body_delta) noexcept {
  const std::uint16_t* relocations = answer.relocations();
  for (unsigned i = 0; i < answer.relocation_count; ++i) {
    const std::uint16_t relocation = relocations[i];
    const unsigned at = relocation & ~relocation_of_body;
    if (at + 2 > body_bytes) continue;  // in what was left out
    const unsigned delta = (relocation & relocation_of_body) != 0 ? body_delta : owner_delta;
    const unsigned pointer = load<Be16>(body + at) + delta;
    ASSERT((pointer & 0xffff) >= 0xc000 + dns::header_bytes);
    store(body + at, Be16(static_cast<std::uint16_t>(pointer)));
  }
}

}  // namespace

ReplyBuilder::ReplyBuilder(const ServeState::Impl& state, Query& query, const Request& request,
                           const EdnsOptions& options) noexcept
    : state_(state),
      query_(query),
      request_(request),
      options_(options),
      end_(request.question_end),
      limit_(reply_limit(state, query, request)),
      opt_bytes_(opt_bytes_of(state, query, request, options)) {
  fits_ = end_ + opt_bytes_ <= limit_;
}

bool ReplyBuilder::append(const Answer& answer, unsigned owner_offset,
                          unsigned owner_bytes) noexcept {
  unsigned bytes = answer.body_bytes;
  unsigned additional = answer.additional_count;
  if (end_ + bytes + opt_bytes_ > limit_) {
    bytes = answer.required_bytes;
    additional = answer.required_additional_count;
    if (end_ + bytes + opt_bytes_ > limit_) {
      truncate();
      return false;
    }
  }
  std::byte* body = query_.message + end_;
  std::memcpy(body, answer.body(), bytes);
  const unsigned owner_delta = owner_offset - dns::header_bytes;
  const unsigned body_delta = end_ - (dns::header_bytes + owner_bytes + dns::question_tail_bytes);
  if ((owner_delta | body_delta) != 0) relocate(answer, body, bytes, owner_delta, body_delta);
  end_ += bytes;
  answer_count_ += answer.answer_count;
  authority_count_ += answer.authority_count;
  additional_count_ += additional;
  return true;
}

bool ReplyBuilder::append_record(unsigned owner_offset, std::uint16_t type, std::uint16_t klass,
                                 std::uint32_t ttl_s, ConstBytes first,
                                 ConstBytes second) noexcept {
  constexpr unsigned head_bytes = 12;  // owner pointer, TYPE, CLASS, TTL, RDLENGTH
  const auto data_bytes = static_cast<unsigned>(first.size() + second.size());
  if (end_ + head_bytes + data_bytes + opt_bytes_ > limit_) {
    truncate();
    return false;
  }
  put16(dns::pointer_to(owner_offset));
  put16(type);
  put16(klass);
  put16(static_cast<std::uint16_t>(ttl_s >> 16));
  put16(static_cast<std::uint16_t>(ttl_s));
  put16(static_cast<std::uint16_t>(data_bytes));
  put(first.data(), static_cast<unsigned>(first.size()));
  put(second.data(), static_cast<unsigned>(second.size()));
  ++answer_count_;
  return true;
}

// A resolver takes nothing from a truncated reply (RFC 2181, 9): send none of it.
void ReplyBuilder::truncate() noexcept {
  truncated_ = true;
  end_ = request_.question_end;
  answer_count_ = authority_count_ = additional_count_ = 0;
}

void ReplyBuilder::put(const void* bytes, unsigned count) noexcept {
  if (count != 0) std::memmove(query_.message + end_, bytes, count);
  end_ += count;
}

void ReplyBuilder::put16(std::uint16_t value) noexcept {
  store(query_.message + end_, Be16(value));
  end_ += 2;
}

void ReplyBuilder::write_subnet() noexcept {
  const bool ipv6 = options_.subnet_family == 2;
  put16(dns::option::client_subnet);
  put16(static_cast<std::uint16_t>(4 + subnet_address_bytes(options_)));
  put16(options_.subnet_family);
  put16(static_cast<std::uint16_t>(unsigned{options_.subnet_length} << 8 |
                                   ((request_.edns & edns_flag::subnet_used) != 0 ? scope_ : 0U)));
  put(options_.subnet.bytes.data() + (ipv6 ? 0 : 12), subnet_address_bytes(options_));
}

void ReplyBuilder::write_cookie() noexcept {
  const auto* client_cookie = options_.client_cookie.data();
  put16(dns::option::cookie);
  put16(client_cookie_bytes + server_cookie_bytes);
  put(client_cookie, client_cookie_bytes);
  if (options_.cookie_state == CookieState::good) {
    put(options_.server_cookie.data(), server_cookie_bytes);
  } else {
    const auto fresh = make_server_cookie(client_cookie, query_.source, state_.wall_s,
                                          state_.cookie_secrets.front());
    put(fresh.data(), server_cookie_bytes);
  }
}

void ReplyBuilder::write_opt(dns::Rcode rcode) noexcept {
  const unsigned begin = end_;
  const bool dnssec_ok = (request_.edns & edns_flag::dnssec_ok) != 0;
  put(state_.plain_opt[dnssec_ok ? 1 : 0].bytes.data(), opt_fixed_bytes);
  query_.message[begin + 5] = static_cast<std::byte>(static_cast<unsigned>(rcode) >> 4);
  if ((request_.edns & edns_flag::nsid) != 0 && !state_.nsid.empty()) {
    put16(dns::option::nsid);
    put16(static_cast<std::uint16_t>(state_.nsid.size()));
    put(state_.nsid.data(), static_cast<unsigned>(state_.nsid.size()));
  }
  if ((request_.edns & edns_flag::client_subnet) != 0) write_subnet();
  if ((request_.edns & edns_flag::cookie) != 0) write_cookie();
  if (answers_keepalive(state_, query_, request_)) {
    put16(dns::option::tcp_keepalive);
    put16(2);
    put16(state_.tcp_keepalive_ds);
  }
  ASSERT(end_ == begin + opt_bytes_);
  if (info_code_ != extended_error::none && end_ + extended_error_bytes <= limit_) {
    put16(dns::option::extended_error);
    put16(2);
    put16(info_code_);
  }
  store(query_.message + begin + 9,
        Be16(static_cast<std::uint16_t>(end_ - begin - opt_fixed_bytes)));
  ++additional_count_;
}

void ReplyBuilder::close(dns::Rcode rcode, bool authoritative) noexcept {
  if (request_.edns != 0) write_opt(rcode);
  auto header = load<dns::Header>(query_.message);
  const unsigned kept = header.flags & (dns::flag::opcode_mask | dns::flag::rd);
  header.flags = static_cast<std::uint16_t>(
      kept | dns::flag::qr | (authoritative ? dns::flag::aa : 0U) |
      (truncated_ ? dns::flag::tc : 0U) | (static_cast<unsigned>(rcode) & dns::flag::rcode_mask));
  header.question_count = request_.question_end > dns::header_bytes ? 1 : 0;
  header.answer_count = static_cast<std::uint16_t>(answer_count_);
  header.authority_count = static_cast<std::uint16_t>(authority_count_);
  header.additional_count = static_cast<std::uint16_t>(additional_count_);
  store(query_.message, header);

  ASSERT(end_ <= limit_);
  query_.verdict = Verdict::answered;
  query_.reply_bytes = static_cast<std::uint16_t>(end_);
  query_.reply_checksum = checksum::fold(checksum::sum(query_.message, end_));
}

void ReplyBuilder::finish(dns::Rcode rcode, bool authoritative, CoreCounters& counters) noexcept {
  if (!fits_) {
    query_.verdict = Verdict::drop_no_room;
    counters.count(query_.verdict);
    return;
  }
  close(rcode, authoritative);
  count_request(query_, request_, counters);
  if ((request_.edns & edns_flag::cookie) != 0) count_cookie(options_.cookie_state, counters);
  counters.count(counter_of(rcode));
  if (truncated_) counters.count(Counter::answers_truncated);
}

void ReplyBuilder::finish_cut(dns::Rcode rcode) noexcept {
  truncated_ = rcode == dns::Rcode::noerror;
  close(rcode, false);
}

void reply_error(const ServeState::Impl& state, Query& query, const Request& request,
                 const EdnsOptions& options, dns::Rcode rcode, std::uint16_t info_code,
                 CoreCounters& counters) noexcept {
  ReplyBuilder reply(state, query, request, options);
  reply.explain(info_code);
  reply.finish(rcode, false, counters);
}

// An error that has no question is no longer than its request, and has nothing that could be cut.
void reply_truncated(const ServeState::Impl& state, Query& query, const Request& request,
                     const EdnsOptions& options, CoreCounters& counters) noexcept {
  ReplyBuilder reply(state, query, request, options);
  reply.truncate();
  reply.finish(dns::Rcode::noerror, false, counters);
}

void cut_reply(const ServeState::Impl& state, Query& query, const Request& request,
               const EdnsOptions& options, dns::Rcode rcode) noexcept {
  if (request.question_end == dns::header_bytes) return;
  Request brief = request;
  brief.edns &= static_cast<std::uint8_t>(~edns_flag::nsid);
  ReplyBuilder(state, query, brief, options).finish_cut(rcode);
}

void count_request(const Query& query, const Request& request, CoreCounters& counters) noexcept {
  if (query.transport == Transport::tcp) counters.count(Counter::queries_tcp);
  if (request.edns != 0) counters.count(Counter::queries_edns);
  if ((request.edns & edns_flag::client_subnet) != 0) counters.count(Counter::queries_ecs);
  if (request.question_end == dns::header_bytes) return;
  counters.count(request.type == static_cast<std::uint16_t>(dns::Type::a) ? Counter::type_a
                 : request.type == static_cast<std::uint16_t>(dns::Type::aaaa)
                     ? Counter::type_aaaa
                     : Counter::type_other);
}

Counter counter_of(dns::Rcode rcode) noexcept {
  switch (rcode) {
    case dns::Rcode::noerror:
      return Counter::rcode_noerror;
    case dns::Rcode::formerr:
      return Counter::rcode_formerr;
    case dns::Rcode::servfail:
      return Counter::rcode_servfail;
    case dns::Rcode::nxdomain:
      return Counter::rcode_nxdomain;
    case dns::Rcode::notimp:
      return Counter::rcode_notimp;
    case dns::Rcode::refused:
      return Counter::rcode_refused;
    case dns::Rcode::yxdomain:
      return Counter::rcode_yxdomain;
    case dns::Rcode::badvers:
      return Counter::rcode_badvers;
    case dns::Rcode::badcookie:
      return Counter::rcode_badcookie;
  }
  return Counter::rcode_servfail;
}

}  // namespace pharos::dataplane
