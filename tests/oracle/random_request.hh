// Requests with anything that a client may send, most of them well-formed: names of the zones and beside them, any
// EDNS, broken headers and records.
#pragma once

#include "two_responders.hh"

namespace pharos::oracle {

class RandomRequest {
 public:
  RandomRequest(Random& random, TwoResponders& responders)
      : random_(random), responders_(responders) {}

  [[nodiscard]] Octets operator()(const IpAddress& source);

 private:
  [[nodiscard]] std::string mixed_case(std::string wire);
  void add_record(Octets& out, const IpAddress& source, bool second);
  void add_option(Octets& out, const IpAddress& source);
  [[nodiscard]] Octets subnet();
  [[nodiscard]] Octets cookie(const IpAddress& source);

  Random& random_;
  TwoResponders& responders_;
};

}  // namespace pharos::oracle
