// The gate that every beacon passes: authenticate, check freshness, decode; or count why not.
//
// Called by one thread (the ingest core); pure apart from its own state. Order, and what each step
// may touch:
//
//   step                      refused as
//   length, magic, version    malformed
//   site tag, key id          unknown_site, unknown_key
//   MAC                       bad_mac
//   epoch, sequence           stale_epoch, duplicate, replayed
//   decode                    invalid
//   time window               outside_window
//
// Nothing changes in the gate before all steps have passed, so a refused datagram leaves no trace
// but a counter.
//
// Freshness. A site's (boot epoch, sequence) must grow strictly. A chain lives as long as one key
// of its site stays live over a reload; replacing all keys at once starts a new chain (the remedy
// for a lost agent state directory).
//
// Time window. A beacon is timely where its wall clock lies within `window` of where this site's own clock should stand by
// our monotonic clock, counted from its former beacons; or where its sequence does, which is a clock of the site as well, one
// interval a beacon; or, for a site that is new to us, within `window` of our wall clock. The first two carry every site
// over a step of our own wall clock, and over a step of the site's. Their anchors keep the least delay seen, so that a
// delayed stream cannot drag them along.
#pragma once

#include "pharos/base/clock.hh"
#include "pharos/base/error.hh"
#include "pharos/config/model.hh"
#include "pharos/wire/beacon.hh"

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

// name, help text
#define PHAROS_BEACON_VERDICTS(V)                                                         \
  V(accepted, "beacons that passed")                                                      \
  V(malformed, "datagrams of another length, magic or version than a beacon's")           \
  V(unknown_site, "beacons of a site that is not configured, or has no keys")             \
  V(unknown_key, "beacons under a key id that their site does not have")                  \
  V(bad_mac, "beacons that were forged, damaged, or made with another secret")            \
  V(stale_epoch, "authentic beacons of an earlier start of their agent")                  \
  V(replayed, "authentic beacons older than one that was accepted")                       \
  V(duplicate,                                                                            \
    "authentic beacons that had been accepted already (copies, or a replay of the last)") \
  V(outside_window, "authentic beacons sent too long ago, or in the future")              \
  V(invalid, "authentic beacons with values that no site can have")

namespace pharos::controlplane {

enum class BeaconVerdict : std::uint8_t {
#define V(name, help) name,
  PHAROS_BEACON_VERDICTS(V)
#undef V
};
struct BeaconVerdictText {
  std::string_view name;
  std::string_view help;
};
inline constexpr std::array beacon_verdict_texts = {
#define V(name, help) BeaconVerdictText{#name, help},
    PHAROS_BEACON_VERDICTS(V)
#undef V
};
inline constexpr std::size_t beacon_verdict_count = beacon_verdict_texts.size();

// A beacon that passed the gate, as the engine gets it.
struct AcceptedBeacon {
  std::uint32_t site = 0;      // index into the sites that the gate was given ...
  std::uint64_t site_set = 0;  // ... under this number; a beacon of a former set is to be dropped
  Instant received;
  SiteReport report;
  std::uint64_t boot_epoch = 0;
  std::uint64_t sequence = 0;
};

// What must survive a restart of the control plane for replays to stay refused.
struct SiteFreshness {
  std::string site_id;
  std::uint64_t boot_epoch = 0;
  std::uint64_t sequence = 0;
  // Of the live keys; all replaced: the chain starts anew.
  std::vector<std::uint64_t> key_fingerprints;
};

// Sites and keys, ready for look-up; made by any thread, then handed to the gate.
class BeaconSites {
 public:
  // `set` is echoed in AcceptedBeacon::site_set. Errors: conflict (two sites with one tag, two keys
  // with one id).
  [[nodiscard]] static Result<BeaconSites> make(std::span<const config::SiteConfig> sites,
                                                std::uint64_t set);

  BeaconSites() noexcept;
  BeaconSites(BeaconSites&&) noexcept;
  BeaconSites& operator=(BeaconSites&&) noexcept;
  ~BeaconSites();

 private:
  friend class BeaconGate;
  struct State;
  std::unique_ptr<State> state_;
};

class BeaconGate {
 public:
  BeaconGate(BeaconSites sites, Duration window);
  BeaconGate(BeaconGate&&) noexcept;
  BeaconGate& operator=(BeaconGate&&) noexcept;
  ~BeaconGate();

  // Judges one datagram. On `accepted` fills `out` (its endpoint vector is reused) with `received`
  // as its time of arrival; otherwise `out` holds nothing of use. No allocation after the first
  // beacons, no system call.
  [[nodiscard]] BeaconVerdict admit(ConstBytes datagram, Instant received, WallTime wall,
                                    AcceptedBeacon& out);

  // New sites, keys and window; freshness and clock anchors carry over by site id.
  void replace(BeaconSites sites, Duration window);

  // Freshness of all sites that ever sent, and its return after a restart. An import only moves a
  // site forward.
  [[nodiscard]] std::vector<SiteFreshness> freshness() const;
  void import_freshness(std::span<const SiteFreshness> stored);

 private:
  std::unique_ptr<BeaconSites::State> state_;
  Duration window_;
};

}  // namespace pharos::controlplane
