"""`python -m soakbed` and the `soakbed` command."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command line."""
    # Processes that collate import this module anew, and need none of what a command does.
    from soakbed.cli import main as command

    command()


if __name__ == "__main__":
    main()
