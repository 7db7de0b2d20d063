// Whether a client subnet (RFC 7871) decides who is answered, where a service does not go by all of them. Workers call
// it, for queries that have one only. The option stays in the reply, with scope 0: the answer is good for every client
// of the resolver that asked (RFC 7871, 7.2.1), for it is the resolver's own.
#include "pharos/dataplane/dns/serve_state.hh"

namespace pharos::dataplane {

void weigh_subnet(const ServeState::Impl& state, const Query& query, Request& request,
                  catalog::EcsMode mode, CoreCounters& counters) noexcept {
  if (mode == catalog::EcsMode::listed && state.ecs_resolvers.contains(query.source)) return;
  request.edns &= static_cast<std::uint8_t>(~edns_flag::subnet_used);
  counters.count(Counter::queries_ecs_ignored);
}

}  // namespace pharos::dataplane
