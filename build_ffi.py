"""Describe hupfast._engine to cffi. meson.build has this turned into C, and compiles it."""

from pathlib import Path

from cffi import FFI

header = (Path(__file__).parent / "csrc" / "hupfast.h").read_text()
declarations = header.split("/* cffi: begin */")[1].split("/* cffi: end */")[0]

ffi = FFI()
ffi.cdef(declarations)
ffi.set_source("hupfast._engine", '#include "hupfast.h"')
