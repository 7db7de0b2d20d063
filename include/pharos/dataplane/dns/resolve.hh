// The long way to an answer: everything that is not one name, one RRset. Zone cuts, wildcards, CNAME and DNAME
// chains, names and types that do not exist, questions of class CH.
//
// Called by serve_burst for what its stages could not finish. RFC 1034, 4.3.2 with RFC 4592, 6672 and 2308.
#pragma once

#include "pharos/dataplane/dns/serve_state.hh"

namespace pharos::dataplane {

// CNAME and DNAME steps that one question may take, and the bytes that they may fill: pointers into what follows
// stay within 14 bits (shared/answer.hh).
inline constexpr unsigned chain_steps_max = 16;
inline constexpr unsigned chain_bytes_max = 3500;

// Answers a question of class IN. `work.request` is parsed; `name` is the folded QNAME of an uncompressed, valid name.
// `work.node` is its node where that is known, `work.absent` says that there is none; `labels`
// are those of the name where it is not. Sets what the reply counts as in `work`, and whether it was steered.
void resolve(const ServeState::Impl& state, const TableRoot& root, Query& query, Work& work,
             const EdnsOptions& options, dns::FoldedName& name, LabelMap& labels,
             CoreCounters& counters) noexcept;

// Answers what a policy of the action `nxdomain`, `nodata` or `route` took; the rest as in resolve(). Denials have the
// SOA of the zone that holds the name, and no SOA where none does.
void resolve_policy(const ServeState::Impl& state, const TableRoot& root, Query& query, Work& work,
                    const EdnsOptions& options, dns::FoldedName& name, LabelMap& labels,
                    const catalog::PolicyRule& rule, CoreCounters& counters) noexcept;

// Answers a question of class CH: version.bind, version.server, id.server, hostname.bind (RFC 4892), where configured.
void answer_chaos(const ServeState::Impl& state, Query& query, const Request& request,
                  const EdnsOptions& options, CoreCounters& counters) noexcept;

}  // namespace pharos::dataplane
