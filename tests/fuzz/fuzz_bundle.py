"""Runs bundle_input.py under atheris, with libFuzzer's options; `make fuzz` does so."""

import sys

import atheris

with atheris.instrument_imports(include=["hupfast", "json"]):
    from bundle_input import one_input

atheris.Setup(sys.argv, one_input)
atheris.Fuzz()
