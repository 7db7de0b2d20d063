#include "pharos/dataplane/dns/limit.hh"

#include "pharos/dataplane/dns/reply.hh"

#include <array>

namespace pharos::dataplane {

namespace {

constexpr std::array<Counter, answer_class_count> counter_of_class = {
    Counter::limited_positive, Counter::limited_wildcard, Counter::limited_nodata,
    Counter::limited_nxdomain, Counter::limited_referral, Counter::limited_error};

[[nodiscard]] bool has_valid_cookie(const Work& work, const EdnsOptions& options) noexcept {
  return (work.request.edns & edns_flag::cookie) != 0 &&
         (options.cookie_state == CookieState::good || options.cookie_state == CookieState::ageing);
}

// Whether a reply is counted at all.
[[nodiscard]] bool is_counted(const ServeState::Impl& state, const Query& query, const Work& work,
                              const EdnsOptions& options, CoreCounters& counters) noexcept {
  if (query.verdict != Verdict::answered || query.transport == Transport::tcp) return false;
  if (state.limit.is_exempt(query.source)) {
    counters.count(Counter::limit_exempt);
    return false;
  }
  if (has_valid_cookie(work, options)) {
    counters.count(Counter::limit_exempt_cookie);
    return false;
  }
  return true;
}

// A reply that is above the limit.
[[gnu::cold, gnu::noinline]] void withhold(ServeState::Impl& state, Query& query, unsigned index,
                                           RateLimit::Judgement judgement,
                                           CoreCounters& counters) noexcept {
  const Work& work = state.work[index];
  counters.count(work.rate_class != 0
                     ? Counter::limited_class
                     : counter_of_class[static_cast<std::size_t>(work.answer_class)]);
  if (state.limit.dry_run()) {
    counters.count(Counter::limit_dry_run);
    return;
  }
  if (judgement == RateLimit::Judgement::drop) {
    query.verdict = Verdict::drop_rate_limited;
    counters.count(query.verdict);
    return;
  }
  const bool cookie = state.limit.badcookie() && (work.request.edns & edns_flag::cookie) != 0;
  counters.count(cookie ? Counter::badcookies : Counter::slipped);
  cut_reply(state, query, work.request, state.options[index],
            cookie ? dns::Rcode::badcookie : dns::Rcode::noerror);
}

}  // namespace

void limit_stage(ServeState::Impl& state, std::span<Query> queries,
                 CoreCounters& counters) noexcept {
  std::array<RateLimit::Account, burst_queries_max> accounts;
  std::array<std::uint8_t, burst_queries_max> counted;
  unsigned count = 0;
  for (unsigned i = 0; i < queries.size(); ++i) {
    const Work& work = state.work[i];
    if (!is_counted(state, queries[i], work, state.options[i], counters)) continue;
    accounts[count] =
        state.limit.account_of(queries[i].source, work.answer_class, work.rate_class, work.hash);
    state.limit.prefetch(accounts[count]);
    counted[count++] = static_cast<std::uint8_t>(i);
  }
  const auto now = RateLimit::ticks_of(state.now);
  for (unsigned n = 0; n < count; ++n) {
    const auto judgement = state.limit.judge(accounts[n], now);
    if (judgement == RateLimit::Judgement::within) [[likely]]
      continue;
    withhold(state, queries[counted[n]], counted[n], judgement, counters);
  }
}

}  // namespace pharos::dataplane
