// Fixed values in place of measured ones: a drill feature. With it a person can see what the responders do when a site
// reports 95 % CPU, and several agents on one kernel can play different sites.
//
// A file of overrides holds "name: value" (or "name = value") lines, '#' comments, and is read anew for each beacon, so
// that it acts at once. Names are those of the metrics without their unit: cpu, cpu_pressure, memory,
// memory_pressure, receive, transmit, link, requests, in_flight, errors, rtt (us), latency (us).
#pragma once

#include "pharos/base/error.hh"
#include "pharos/wire/site_report.hh"

#include <map>
#include <string>
#include <string_view>

namespace pharos::agent {

using Overrides = std::map<std::string, float>;

// Checks one override. Errors: invalid (unknown name, a value that the metric cannot have).
[[nodiscard]] Status check_override(const std::string& name, float value);

// The overrides in the text of a file. Errors: invalid, with the line.
[[nodiscard]] Result<Overrides> parse_overrides(std::string_view text);

// Puts checked overrides in place of what was measured.
void apply_overrides(const Overrides& overrides, SiteMetrics& metrics);

}  // namespace pharos::agent
