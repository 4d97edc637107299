"""Builds the compiled core where cargo is; without it the package is pure Python, and says so.

`porcupine.core` tells which one is in use. Only what cannot be said in pyproject.toml stands here.
"""

from __future__ import annotations

from shutil import which

from setuptools import setup


def extensions() -> list[object]:
    """The core, if it can be built here. It is optional: a build that fails leaves the rest as it is."""
    try:
        from setuptools_rust import Binding, RustExtension
    except ImportError:
        return []
    if which("cargo") is None:
        return []
    return [
        RustExtension(
            "porcupine._core",
            path="rust/Cargo.toml",
            binding=Binding.PyO3,
            py_limited_api=True,
            debug=False,
            optional=True,
        )
    ]


def options() -> dict[str, object]:
    """What setup() is told beside pyproject.toml. Without setuptools-rust the word itself would be warned about."""
    if not (found := extensions()):
        print(
            "porcupine-py: without cargo and setuptools-rust: building in pure Python", flush=True
        )
        return {}
    # One wheel for all versions from 3.11 on: pyo3 is asked for its abi3-py311 too (rust/Cargo.toml).
    return {
        "rust_extensions": found,
        "options": {"bdist_wheel": {"py_limited_api": "cp311"}},
    }


setup(**options())
