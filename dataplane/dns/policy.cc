#include "pharos/dataplane/dns/policy.hh"

#include "pharos/base/assert.hh"
#include "pharos/dataplane/dns/demand.hh"
#include "pharos/dataplane/dns/reply.hh"
#include "pharos/dataplane/dns/resolve.hh"

#include <algorithm>
#include <bit>

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
      if (work.steered) note_demand(state, burst.root, work);
      return true;
  }
  return false;
}

// The last name of which the plain patterns were asked. Made-up names come in crowds below one parent, and patterns that
// take all below one of its ancestors take them all.
struct Crowd {
  const dns::FoldedName* name = nullptr;
  unsigned parent = 0;  // offset of the parent's name
  std::uint32_t verdict = 0;
};

[[nodiscard]] std::uint32_t plain_verdict(const catalog::PolicyView& policies,
                                          const dns::FoldedName& name, const LabelMap& labels,
                                          Crowd& crowd) noexcept {
  if (policies.names().empty()) return 0;
  const auto* bytes = name.bytes.data();
  const auto exact = policies.exact_verdict(bytes, name.length, labels.count);
  if (labels.count == 0) return exact;
  const unsigned parent = labels.offsets[1];
  const bool same = crowd.name != nullptr &&
                    name.length - parent == crowd.name->length - crowd.parent &&
                    dns::equal_names(bytes + parent, crowd.name->bytes.data() + crowd.parent,
                                     name.length - parent);
  if (!same) {
    crowd.verdict = policies.below_verdict(bytes + parent, name.length - parent, labels.count - 1);
    crowd.name = &name;
    crowd.parent = parent;
  }
  return catalog::first_verdict(exact, crowd.verdict);
}

// The verdicts of a list, and the names among them that wait for the expressions, as lines of one text.
struct Docket {
  std::array<std::uint32_t, burst_queries_max> verdicts;
  unsigned line_count = 0;
  std::array<std::uint8_t, burst_queries_max> places;  // of a line: in the list
  std::array<std::uint32_t, burst_queries_max + 1> begins;
};

// Lines of which more than one in so many may match are not worth the first look: then bursts go without it for a while.
constexpr unsigned suspects_worth = 4;
constexpr unsigned bursts_alone = 64;

void scan_docket(Burst& burst, Docket& docket) noexcept {
  ServeState::Impl& state = burst.state;
  PolicySet& policies = *burst.root.policies;
  const unsigned count = docket.line_count;
  std::uint64_t suspects = ~std::uint64_t{0};
  if (state.policy_texts_alone != 0) {
    --state.policy_texts_alone;
  } else if (count > 1 && policies.scans_lines()) {
    suspects = policies.scan_lines(state.seat, state.policy_lines.data(),
                                   std::span(docket.begins).first(count + 1));
    if (suspects == 0) [[likely]]
      return;
    if (static_cast<unsigned>(std::popcount(suspects)) * suspects_worth > count)
      state.policy_texts_alone = bursts_alone;
  }
  for (unsigned line = 0; line < count; ++line) {
    if ((suspects >> line & 1) == 0) continue;
    const unsigned begin = docket.begins[line];
    const unsigned text_bytes = docket.begins[line + 1] - 1 - begin;
    std::uint32_t& verdict = docket.verdicts[docket.places[line]];
    verdict = catalog::first_verdict(
        verdict, policies.scan(state.seat, state.policy_lines.data() + begin, text_bytes));
  }
}

void add_line(Burst& burst, Docket& docket, unsigned place, std::uint8_t index) noexcept {
  ServeState::Impl& state = burst.state;
  if (docket.line_count == 0) docket.begins[0] = 0;
  const unsigned begin = docket.begins[docket.line_count];
  auto* text = state.policy_lines.data() + begin;
  const dns::FoldedName& name = state.names[index];
  const unsigned bytes =
      write_policy_text(name.bytes.data(), name.length, state.labels[index], text);
  text[bytes] = '\n';
  docket.places[docket.line_count++] = static_cast<std::uint8_t>(place);
  docket.begins[docket.line_count] = begin + bytes + 1;
  if (begin + bytes + 1 > policy_lines_bytes - policy_text_bytes_max) {
    scan_docket(burst, docket);
    docket.line_count = 0;
  }
}

// Verdicts of the names in `list`, which were not found at the first look.
void judge(Burst& burst, const List& list, unsigned count, Docket& docket) noexcept {
  const catalog::PolicyView& policies = burst.root.catalog.policies();
  Crowd crowd;
  for (unsigned n = 0; n < count; ++n) {
    const std::uint8_t i = list[n];
    Work& work = burst.state.work[i];
    const dns::FoldedName& name = burst.state.names[i];
    if (work.node == nullptr && !work.absent) {
      work.node = find_node(burst.root.catalog, name.bytes.data(), name.length);
      work.absent = work.node == nullptr;
    }
    if (work.node != nullptr) {
      docket.verdicts[n] = work.node->verdict;
      continue;
    }
    docket.verdicts[n] = plain_verdict(policies, name, burst.state.labels[i], crowd);
    // Nothing comes before the first rule.
    if (policies.database() != nullptr && docket.verdicts[n] != 1) add_line(burst, docket, n, i);
  }
  if (docket.line_count != 0) scan_docket(burst, docket);
}

// What policies let through stays in the list.
void judge_all(Burst& burst, List& list, unsigned& count) noexcept {
  if (count == 0) return;
  Docket docket;
  judge(burst, list, count, docket);
  unsigned kept = 0;
  for (unsigned n = 0; n < count; ++n) {
    const std::uint32_t verdict = docket.verdicts[n];
    if (verdict == 0 || !act(burst, list[n], verdict)) list[kept++] = list[n];
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
