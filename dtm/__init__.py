"""dtm: declarative engine for DevOps toolchains."""

from typing import Final

__version__: Final = "0.1.0"
