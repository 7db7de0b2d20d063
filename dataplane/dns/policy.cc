#include "pharos/dataplane/dns/policy.hh"

#include "pharos/base/assert.hh"
#include "pharos/dataplane/dns/reply.hh"
#include "pharos/dataplane/dns/resolve.hh"

#include <algorithm>

namespace pharos::dataplane {

namespace {

using catalog::PolicyAction;
using catalog::PolicyRule;

constexpr unsigned samples_per_second = 10;  // of one core, over all policies

// A query for the log: who asked is cut to the block that ECS would tell.
void take_sample(ServeState::Impl& state, const Query& query, const Work& work,
                 const PolicyRule& rule) noexcept {
  PolicySamples& samples = state.samples;
  if (state.wall_s != samples.second) {
    samples.second = state.wall_s;
    samples.taken = 0;
  }
  if (samples.taken >= samples_per_second || samples.count >= samples.records.size()) return;
  ++samples.taken;
  PolicySample& sample = samples.records[samples.count++];
  sample.head = {};
  sample.head.policy = rule.id;
  sample.head.action = rule.action;
  sample.head.type = work.request.type;
  sample.head.name_bytes = work.request.name_bytes;
  const bool ipv4 = query.source.is_ipv4();
  sample.head.client_prefix_bits = static_cast<std::uint8_t>(ipv4 ? ranking::slot_prefix_ipv4_bits
                                                                  : ranking::slot_prefix_ipv6_bits);
  const unsigned kept_bytes = sample.head.client_prefix_bits / 8U + (ipv4 ? 12U : 0U);
  std::copy_n(query.source.bytes.begin(), kept_bytes, sample.head.client.begin());
  std::copy_n(query.message + dns::header_bytes, work.request.name_bytes, sample.name.begin());
}

// Counts the verdict and does what it says. False: the query goes on as if there were no policy.
[[nodiscard]] bool act(Burst& burst, std::uint8_t index, std::uint32_t verdict) noexcept {
  ServeState::Impl& state = burst.state;
  Query& query = burst.queries[index];
  Work& work = state.work[index];
  EdnsOptions& options = state.options[index];
  const PolicyRule& rule = burst.root.catalog.policies().rules()[verdict - 1];
  burst.root.policies->count(state.seat, verdict);
  if ((rule.flags & catalog::policy_flag::log) != 0) take_sample(state, query, work, rule);
  switch (rule.action) {
    case PolicyAction::allow:
    case PolicyAction::log:
      return false;
    case PolicyAction::limit:
      work.rate_class = rule.rate_class;
      return false;
    case PolicyAction::truncate:
      if (query.transport == Transport::tcp) return false;
      reply_truncated(state, query, work.request, options, burst.counters);
      return true;
    case PolicyAction::refuse:
      work.answer_class = AnswerClass::error;
      work.hash = 0;
      reply_error(state, query, work.request, options, dns::Rcode::refused, extended_error::blocked,
                  burst.counters);
      return true;
    case PolicyAction::drop:
      query.verdict = Verdict::drop_policy;
      burst.counters.count(query.verdict);
      return true;
    case PolicyAction::nxdomain:
    case PolicyAction::nodata:
    case PolicyAction::route:
      resolve_policy(state, burst.root, query, work, options, state.names[index],
                     state.labels[index], rule, burst.counters);
      return true;
  }
  return false;
}

// The verdict of a name that has no node.
[[nodiscard]] std::uint32_t verdict_of(Burst& burst, std::uint8_t index) noexcept {
  const dns::FoldedName& name = burst.state.names[index];
  const catalog::PolicyView& policies = burst.root.catalog.policies();
  std::uint32_t verdict = 0;
  if (!policies.names().empty()) {
    verdict =
        policies.plain_verdict(name.bytes.data(), name.length, burst.state.labels[index].count);
  }
  if (policies.database() == nullptr || verdict == 1) return verdict;  // nothing comes before 1
  auto* text = burst.state.policy_text.data();
  const unsigned text_bytes = write_policy_text(name.bytes.data(), text);
  return catalog::first_verdict(verdict,
                                burst.root.policies->scan(burst.state.seat, text, text_bytes));
}

// Whether the query at `index`, whose name was not found at the first look, stays in its list.
[[nodiscard]] bool judge(Burst& burst, std::uint8_t index) noexcept {
  Work& work = burst.state.work[index];
  const dns::FoldedName& name = burst.state.names[index];
  if (work.node == nullptr && !work.absent) {
    work.node = find_node(burst.root.catalog, name.bytes.data(), name.length);
    work.absent = work.node == nullptr;
  }
  const auto verdict = work.node != nullptr ? work.node->verdict : verdict_of(burst, index);
  return verdict == 0 || !act(burst, index, verdict);
}

void judge_all(Burst& burst, List& list, unsigned& count) noexcept {
  unsigned kept = 0;
  for (unsigned n = 0; n < count; ++n) {
    if (judge(burst, list[n])) list[kept++] = list[n];
  }
  count = kept;
}

}  // namespace

void policy_stage(Burst& burst) noexcept {
  REQUIRE(burst.state.seat < burst.root.policies->seat_count());
  unsigned kept = 0;
  for (unsigned n = 0; n < burst.policed_count; ++n) {
    const std::uint8_t i = burst.policed[n];
    if (!act(burst, i, burst.state.work[i].node->verdict)) burst.policed[kept++] = i;
  }
  burst.policed_count = kept;
  judge_all(burst, burst.miss, burst.miss_count);
  judge_all(burst, burst.resolve, burst.resolve_count);
}

}  // namespace pharos::dataplane
