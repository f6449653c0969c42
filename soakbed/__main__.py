"""`python -m soakbed` and the `soakbed` command."""

from __future__ import annotations

from soakbed.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
