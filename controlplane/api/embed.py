"""A file as an array of bytes in C++. Usage: embed.py FILE OUTPUT"""
import pathlib
import sys

source, output = sys.argv[1:]
data = pathlib.Path(source).read_bytes()
lines = [", ".join(f"0x{byte:02x}" for byte in data[i:i + 24]) for i in range(0, len(data), 24)]
pathlib.Path(output).write_text("// Made by embed.py.\n#pragma once\n\ninline constexpr unsigned char dashboard_bytes[] = {\n" +
                                ",\n".join(lines) + "};\n")
