"""Histories that others wrote: Jepsen's and Knossos' EDN, Jepsen's log lines, Porcupine's text."""
