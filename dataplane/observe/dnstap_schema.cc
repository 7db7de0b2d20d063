// What protoc-c makes of dnstap.proto, as C++: it is C, and sound in both.
#pragma GCC diagnostic ignored "-Wold-style-cast"
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#include "dnstap.pb-c.c"  // NOLINT: generated
