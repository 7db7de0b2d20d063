// How soon a thread gets its core where it shares one. Wishes to the kernel: where it does not know them, or refuses,
// everything goes on as before.
//
// Called by a thread for itself, before any sandbox. Linux alone; the rules are those of its fair scheduler, EEVDF
// (Stoica and Abdel-Wahab 1995), which since 6.12 lets a thread choose how long a turn it wants.
#pragma once

namespace pharos {

// For threads that work for microseconds and that somebody waits for: they ask for short turns, and so are let in at
// once, in front of a thread that is in the middle of a long one (by default that lasts 3 to 4 ms, up to the next
// tick). Takes nothing from anybody: over time a thread's share of the core stays what it was. Threads that this one
// starts inherit it.
void prefer_short_turns() noexcept;

// For threads with much work that nobody waits for: long turns, and a tenth of the core where others want it.
void work_in_background() noexcept;

}  // namespace pharos
