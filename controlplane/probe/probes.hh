// The kinds of probes. Private to this folder.
#pragma once

#include "pharos/controlplane/probe/probe.hh"

namespace pharos::probe {

// tcp, tls, http, https
[[nodiscard]] std::unique_ptr<Probe> start_stream(const Target& target, const TlsContext* tls);
[[nodiscard]] std::unique_ptr<Probe> start_dns(const Target& target);
[[nodiscard]] std::unique_ptr<Probe> start_icmp(const Target& target);
[[nodiscard]] std::unique_ptr<Probe> start_exec(const Target& target);

}  // namespace pharos::probe
