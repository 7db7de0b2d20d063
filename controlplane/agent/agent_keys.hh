// The tables of the agent's keys. Private to this folder.
#pragma once

#include "pharos/config/keys.hh"
#include "pharos/controlplane/agent/agent_config.hh"

namespace pharos::config {

template <>
const Table* table_of<agent::ResponderConfig>();
template <>
const Table* table_of<agent::StatsdConfig>();
template <>
const Table* table_of<agent::RequestsConfig>();
template <>
const Table* table_of<agent::CheckConfig>();
template <>
const Table* table_of<agent::EndpointConfig>();
template <>
const Table* table_of<agent::ProbeConfig>();
template <>
const Table* table_of<agent::AgentConfig>();

}  // namespace pharos::config
