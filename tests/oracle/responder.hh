// Our own answers: zone files through loader, builder, proof and serve_burst. No port, no process.
#pragma once

#include "pharos/controlplane/zone/load_zone.hh"
#include "pharos/dataplane/dns/serve.hh"

#include <memory>
#include <vector>

#include "peer.hh"

namespace pharos::oracle {

class Responder {
 public:
  [[nodiscard]] static Result<Responder> start(std::span<const ZoneFile> zones);

  // The reply to a query, or nothing where it is dropped.
  [[nodiscard]] std::vector<std::byte> ask(
      ConstBytes query, dataplane::Transport transport = dataplane::Transport::udp);

 private:
  Responder();

  std::unique_ptr<const dataplane::TableRoot> root_;
  std::unique_ptr<dataplane::ServeState> state_;
  std::unique_ptr<dataplane::CoreCounters> counters_;
};

}  // namespace pharos::oracle
