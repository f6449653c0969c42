"""Tooling on the controller: from a spec to a judged comparison page."""
